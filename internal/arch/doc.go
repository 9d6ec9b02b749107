// Package arch is the one home of what is known of architectures without running them:
// their names, the GGUF keys and tensor names that they use, and of what their layers are
// made. An architecture is one row of the table.
//
// What is computed of a row is in internal/model, what its tensors are called in Hugging Face
// folders in internal/convert.
package arch
