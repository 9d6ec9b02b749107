// Package train fine-tunes: data in batches, loss, gradients, AdamW,
// checkpoints, events. The same loop trains LoRA pairs over a quantized base and
// the full weights of a small model.
//
// It may import gguf, lora, internal/model, internal/nn, internal/kernel, internal/dataset,
// internal/atomicfile. It prints nothing: what happens is reported as events.
package train
