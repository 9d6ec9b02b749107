// Package loop is the step engine of fine-tuning: data in batches, loss, gradients, AdamW,
// checkpoints, events. The same loop trains LoRA pairs over a quantized base and
// the full weights of a small model.
//
// It may import gguf, internal/model, internal/nn, internal/kernel, internal/dataset,
// internal/atomicfile. It prints nothing: what happens is reported as events.
package loop
