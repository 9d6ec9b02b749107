// Package simd chooses the tier: the set of instructions that kernels use. It knows which
// tiers there are, which of them this machine and this build have, and what QTOOL_CPU
// asks for. It has no kernels: each package that has keeps a table of its own by [Tier].
//
// It may import golang.org/x/sys/cpu.
package simd

// All kernels in assembly are printed by one program.
//go:generate go run ../_asm ..
