// Package kernel holds the hot loops: conversion-and-multiply over quantized
// rows, dot products, and the fixed pool of workers they run on.
//
// It may import internal/half and golang.org/x/sys/cpu. Results never depend on
// the number of workers. It knows no models, no files and no tape.
package kernel
