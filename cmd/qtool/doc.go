// Command qtool reads, quantizes, runs and fine-tunes language models in GGUF.
//
// It may import every package of the module; none imports it. It holds flags,
// progress, printing and exit codes, and never computes on tensors itself.
//
//	stdout       data: text, JSON, nothing else
//	stderr       progress, remarks and the one line of an error
//	exit codes   0 done, 1 failed, 2 wrong usage, 3 corrupt or invalid input,
//	             4 unsupported, 5 verification mismatch, 70 out of memory or a mistake
//	             in the program, 130 interrupted
//
// Only data show has colours, on a terminal and without NO_COLOR.
package main
