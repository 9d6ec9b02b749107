// Package kernel holds the hot loops: conversion-and-multiply over quantized rows,
// encoding of rows, dot products, and the fixed pool of workers they run on. Every loop has
// a pure-Go twin; assembly tiers are chosen once, by CPU or QTOOL_CPU.
//
// It may import internal/codebook, internal/ggml, internal/half, internal/panics and golang.org/x/sys/cpu. On
// one tier, results never depend on the number of workers, nor on how many
// tokens are multiplied together. It knows no models, no files and no tape.
package kernel

//go:generate go run ./_asm
