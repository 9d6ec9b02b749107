// Package train fine-tunes as a library: a [Job] opens a base and data, plans, trains,
// evaluates, verifies and writes an adapter, or a model whose weights were all trained.
// What happens is told to an [Observer]; what came of it is a [Report].
//
// It takes and gives only public types, and prints nothing.
package train
