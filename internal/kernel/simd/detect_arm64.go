//go:build !purego

package simd

// detect asks nobody: every arm64 has NEON.
func detect() []Tier { return []Tier{NEON} }
