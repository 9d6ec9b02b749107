package vector

import (
	"math"
	"sync"
	"unsafe"

	"qtool/internal/half"
)

// elementwise are a tier's functions over plain vectors; n may be 0.
type elementwise struct {
	exp            func(dst, src *float32, n int, shift float32) float64
	highest        func(v *float32, n int) float32
	dot64          func(a, b *float32, n int) float64
	scale          func(dst, a, b *float32, s float32, n int)
	swiglu         func(dst, gate, up *float32, n int)
	swigluBackward func(dgate, dup, gate, up, dy *float32, n int)
	geglu          func(dst, gate, up *float32, n int)
	gegluBackward  func(dgate, dup, gate, up, dy *float32, n int)
	// roundedGeglu has 0, gate or what table says of its bits as a float16, for up to
	// -10, from 10 on and between them, times up but where that is 0.
	roundedGeglu func(dst, gate, up *float32, n int, table *float32)
}

// start is the first of at least n elements; it panics if there are fewer.
func start(v []float32, n int) *float32 { return unsafe.SliceData(v[:n]) }

// Exp computes dst[i] = exp(src[i] - shift) and returns the sum of the results.
// A result is off by at most 1 unit in its last place. dst may be src.
func Exp(dst, src []float32, shift float32) float64 {
	n := len(src)
	return active().exp(start(dst, n), start(src, n), n, shift)
}

// Highest is the largest element of v: -Inf if there is none. NaN is passed over.
func Highest(v []float32) float32 { return active().highest(start(v, len(v)), len(v)) }

// Softmax computes dst[i] = exp(src[i]) / sum over j of exp(src[j]). dst may be src.
func Softmax(dst, src []float32) {
	sum := Exp(dst, src, Highest(src))
	s := float32(1 / sum)
	for i := range dst[:len(src)] {
		dst[i] *= s
	}
}

// Dot64 is the sum of a[i]·b[i] in float64; b is at least as long as a. The
// order of the sum depends on the length and the tier alone.
func Dot64(a, b []float32) float64 {
	n := len(a)
	return active().dot64(start(a, n), start(b, n), n)
}

// Scale computes dst[i] = (a[i]·s)·b[i]. dst may be a or b.
func Scale(dst, a []float32, s float32, b []float32) {
	n := len(dst)
	active().scale(start(dst, n), start(a, n), start(b, n), s, n)
}

// SwiGLU computes dst[i] = silu(gate[i])·up[i], silu(x) = x/(1+exp(-x)). dst may
// be gate or up.
func SwiGLU(dst, gate, up []float32) {
	n := len(dst)
	active().swiglu(start(dst, n), start(gate, n), start(up, n), n)
}

// SwiGLUBackward stores the gradients of SwiGLU's arguments, given dy, that of
// its result. No slice may overlap another.
func SwiGLUBackward(dgate, dup, gate, up, dy []float32) {
	n := len(dy)
	active().swigluBackward(start(dgate, n), start(dup, n), start(gate, n), start(up, n), start(dy, n), n)
}

// GeGLU computes dst[i] = gelu(gate[i])·up[i], gelu(x) = x/2·(1 +
// tanh(sqrt(2/π)·(x + 0.044715·x³))). dst may be gate or up.
func GeGLU(dst, gate, up []float32) {
	n := len(dst)
	active().geglu(start(dst, n), start(gate, n), start(up, n), n)
}

// GeGLUBackward stores the gradients of GeGLU's arguments, given dy, that of its
// result. No slice may overlap another.
func GeGLUBackward(dgate, dup, gate, up, dy []float32) {
	n := len(dy)
	active().gegluBackward(start(dgate, n), start(dup, n), start(gate, n), start(up, n), start(dy, n), n)
}

// RoundedGeGLU is GeGLU as llama.cpp's CPU backend computes it: gelu(x) is 0 up to
// -10, x from 10 on, and between them gate and result are rounded to float16. Bits do
// not depend on the tier. dst may be gate or up.
func RoundedGeGLU(dst, gate, up []float32) {
	n := len(dst)
	active().roundedGeglu(start(dst, n), start(gate, n), start(up, n), n, &roundedGelu()[0])
}

// roundedGelu is gelu by the bits of a float16, as llama.cpp computes it in float32: a
// product that is added to is not rounded before, and the tanh is.
var roundedGelu = sync.OnceValue(func() *[1 << 16]float32 {
	const infinite, ten = 0x7c00, 0x4900
	var table [1 << 16]float32
	for bits := range table {
		switch magnitude := bits &^ (1 << 15); {
		case magnitude > infinite:
			table[bits] = half.FromFloat16(uint16(bits))
		case magnitude <= ten: // others are not looked up
			x := half.FromFloat16(uint16(bits))
			cube := float32(float64(float32(geluCube*x))*float64(x) + 1)
			tanh := float32(math.Tanh(float64(float32(float32(geluScale/2*x) * cube))))
			table[bits] = half.FromFloat16(half.ToFloat16(float32(0.5*x) * (1 + tanh)))
		}
	}
	return &table
})
