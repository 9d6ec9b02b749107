package product

import (
	"runtime"
	"unsafe"
)

// The tiles are as large as the compiler's registers allow: of 2×4, it spills
// sums. They use addresses, because bounds checks take as long as the products.

func tileGo1x2(k int, a *float32, lda int, b *float32, ldb int, c *float32, _ int, add bool) {
	x, w := 0, 0 // offsets: a pointer must not run past the end
	var s0, s1 float32
	for range k {
		v, u := *after(a, x), (*[2]float32)(unsafe.Pointer(after(b, w)))
		s0 += v * u[0]
		s1 += v * u[1]
		x, w = x+lda, w+ldb
	}
	putInRow(c, s0, s1, add)
}

func tileGo2x2(k int, a *float32, lda int, b *float32, ldb int, c *float32, ldc int, add bool) {
	x, w := 0, 0 // offsets: a pointer must not run past the end
	var s0, s1, t0, t1 float32
	for range k {
		v, u := (*[2]float32)(unsafe.Pointer(after(a, x))), (*[2]float32)(unsafe.Pointer(after(b, w)))
		u0, u1 := u[0], u[1]
		s0 += v[0] * u0
		s1 += v[0] * u1
		t0 += v[1] * u0
		t1 += v[1] * u1
		x, w = x+lda, w+ldb
	}
	putInRow(c, s0, s1, add)
	putInRow(after(c, ldc), t0, t1, add)
}

func tileGo3x2(k int, a *float32, lda int, b *float32, ldb int, c *float32, ldc int, add bool) {
	x, w := 0, 0 // offsets: a pointer must not run past the end
	var s0, s1, t0, t1, r0, r1 float32
	for range k {
		v, u := (*[3]float32)(unsafe.Pointer(after(a, x))), (*[2]float32)(unsafe.Pointer(after(b, w)))
		u0, u1 := u[0], u[1]
		s0 += v[0] * u0
		s1 += v[0] * u1
		t0 += v[1] * u0
		t1 += v[1] * u1
		r0 += v[2] * u0
		r1 += v[2] * u1
		x, w = x+lda, w+ldb
	}
	putInRow(c, s0, s1, add)
	putInRow(after(c, ldc), t0, t1, add)
	putInRow(after(c, 2*ldc), r0, r1, add)
}

func putInRow(c *float32, s0, s1 float32, add bool) {
	row := (*[2]float32)(unsafe.Pointer(c))
	if add {
		s0, s1 = row[0]+s0, row[1]+s1
	}
	row[0], row[1] = s0, s1
}

// peakGo is tileGo3x2 without memory.
func peakGo(rounds int) {
	var s0, s1, t0, t1, r0, r1 float32
	v0, v1, v2 := float32(0.5), float32(-0.5), float32(2)
	u0, u1 := float32(1), float32(2)
	for range rounds {
		s0 += v0 * u0
		s1 += v0 * u1
		t0 += v1 * u0
		t1 += v1 * u1
		r0 += v2 * u0
		r1 += v2 * u1
		v0, v1 = v1, v0 // keeps the products in the loop
	}
	runtime.KeepAlive([]float32{s0, s1, t0, t1, r0, r1})
}

func toPanelsGo(dst *float32, step int, src *float32, n int) {
	for i, run := range unsafe.Slice((*[2]float32)(unsafe.Pointer(src)), n) {
		*(*[2]float32)(unsafe.Pointer(after(dst, i*step))) = run
	}
}
