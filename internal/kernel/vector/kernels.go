package vector

import "qtool/internal/kernel/simd"

// kernels are one tier's functions over vectors.
type kernels struct {
	Transposer
	dot  func(a, b *float32, n int) float32
	axpy func(y *float32, a float32, x *float32, n int)
	// adamW is AdamWStep.Apply for a multiple of adamWLanes; nil: in Go.
	adamW func(s *AdamWStep, w, grad, m, v *float32, n int)
	elementwise
}

// active are the kernels of the tier in use.
func active() *kernels { return tiers[simd.Active()] }

// Rows holds the starts of up to 16 rows.
type Rows [16]*float32

// A Transposer puts rows side by side.
type Transposer struct {
	Lanes int // rows that are read at once
	// Transpose stores element l < n of row r at dst[l·stride+r], for Lanes rows, column by
	// column; n is a multiple of 4 where Lanes is more than 2.
	Transpose func(dst *float32, stride int, rows *Rows, n int)
}

// TransposerOf is that of a tier.
func TransposerOf(t simd.Tier) *Transposer { return &tiers[t].Transposer }
