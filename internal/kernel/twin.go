package kernel

import (
	"math"
	"runtime"
	"unsafe"
)

// goTier is the pure-Go twin of every kernel: the reference that the others
// are tested against and what runs where there is no assembly.
var goTier = tier{
	name: "go",
	tiles: [2][]tileFunc{
		{tileGo1x4, tileGo2x4},
		{tileGo1x4, tileGo2x4},
	},
	widths:    [2]int{4, 4},
	lanes:     4,
	transpose: transposeGo,
	dot:       dotGo,
	axpy:      axpyGo,
	peak:      peak{peakGo, 8 * 2},

	elementwise: elementwiseGo,
}

var elementwiseGo = elementwise{
	exp:            expGo,
	highest:        highestGo,
	dot64:          dot64Go,
	scale:          scaleGo,
	swiglu:         swigluGo,
	swigluBackward: swigluBackwardGo,
}

func tileGo1x4(k int, a *float32, lda int, b *float32, ldb int, c *float32, _ int) {
	if k == 0 {
		return
	}
	as, bs, cs := unsafe.Slice(a, (k-1)*lda+1), unsafe.Slice(b, (k-1)*ldb+4), unsafe.Slice(c, 4)
	var s0, s1, s2, s3 float32
	for l := range k {
		x, w := as[l*lda], bs[l*ldb:][:4]
		s0 += x * w[0]
		s1 += x * w[1]
		s2 += x * w[2]
		s3 += x * w[3]
	}
	cs[0] += s0
	cs[1] += s1
	cs[2] += s2
	cs[3] += s3
}

func tileGo2x4(k int, a *float32, lda int, b *float32, ldb int, c *float32, ldc int) {
	if k == 0 {
		return
	}
	as, bs, cs := unsafe.Slice(a, (k-1)*lda+2), unsafe.Slice(b, (k-1)*ldb+4), unsafe.Slice(c, ldc+4)
	var s0, s1, s2, s3, t0, t1, t2, t3 float32
	for l := range k {
		x, w := as[l*lda:][:2], bs[l*ldb:][:4]
		s0 += x[0] * w[0]
		s1 += x[0] * w[1]
		s2 += x[0] * w[2]
		s3 += x[0] * w[3]
		t0 += x[1] * w[0]
		t1 += x[1] * w[1]
		t2 += x[1] * w[2]
		t3 += x[1] * w[3]
	}
	cs[0] += s0
	cs[1] += s1
	cs[2] += s2
	cs[3] += s3
	ds := cs[ldc:]
	ds[0] += t0
	ds[1] += t1
	ds[2] += t2
	ds[3] += t3
}

// peakGo is tileGo2x4 without memory.
func peakGo(rounds int) {
	var s0, s1, s2, s3, t0, t1, t2, t3 float32
	x0, x1 := float32(0.5), float32(-0.5)
	w0, w1, w2, w3 := float32(1), float32(2), float32(3), float32(4)
	for range rounds {
		s0 += x0 * w0
		s1 += x0 * w1
		s2 += x0 * w2
		s3 += x0 * w3
		t0 += x1 * w0
		t1 += x1 * w1
		t2 += x1 * w2
		t3 += x1 * w3
		x0, x1 = x1, x0 // keeps the products in the loop
	}
	runtime.KeepAlive([]float32{s0, s1, s2, s3, t0, t1, t2, t3})
}

// transposeGo computes dst[k·stride+r] = rows[r][k] for r < 4 and k < n, in
// ascending order of k.
func transposeGo(dst *float32, stride int, rows *rowPointers, n int) {
	if n == 0 {
		return
	}
	d := unsafe.Slice(dst, (n-1)*stride+4)
	r0, r1 := unsafe.Slice(rows[0], n), unsafe.Slice(rows[1], n)
	r2, r3 := unsafe.Slice(rows[2], n), unsafe.Slice(rows[3], n)
	for k := range n {
		column := d[k*stride:][:4]
		column[0], column[1], column[2], column[3] = r0[k], r1[k], r2[k], r3[k]
	}
}

func dotGo(a, b *float32, n int) (s float32) {
	y := unsafe.Slice(b, n)
	for i, x := range unsafe.Slice(a, n) {
		s += x * y[i]
	}
	return s
}

func axpyGo(y *float32, a float32, x *float32, n int) {
	d := unsafe.Slice(y, n)
	for i, v := range unsafe.Slice(x, n) {
		d[i] += a * v
	}
}

func expGo(dst, src *float32, n int, shift float32) (sum float64) {
	d := unsafe.Slice(dst, n)
	for i, x := range unsafe.Slice(src, n) {
		d[i] = float32(math.Exp(float64(x - shift)))
		sum += float64(d[i])
	}
	return sum
}

func highestGo(v *float32, n int) float32 {
	highest := float32(math.Inf(-1))
	for _, x := range unsafe.Slice(v, n) {
		if x > highest {
			highest = x
		}
	}
	return highest
}

func dot64Go(a, b *float32, n int) (sum float64) {
	y := unsafe.Slice(b, n)
	for i, x := range unsafe.Slice(a, n) {
		sum += float64(x) * float64(y[i])
	}
	return sum
}

func scaleGo(dst, a, b *float32, s float32, n int) {
	d, y := unsafe.Slice(dst, n), unsafe.Slice(b, n)
	for i, x := range unsafe.Slice(a, n) {
		d[i] = x * s * y[i]
	}
}

func sigmoid(x float32) float32 { return float32(1 / (1 + math.Exp(-float64(x)))) }

func swigluGo(dst, gate, up *float32, n int) {
	d, u := unsafe.Slice(dst, n), unsafe.Slice(up, n)
	for i, x := range unsafe.Slice(gate, n) {
		d[i] = x * sigmoid(x) * u[i]
	}
}

func swigluBackwardGo(dgate, dup, gate, up, dy *float32, n int) {
	dg, du := unsafe.Slice(dgate, n), unsafe.Slice(dup, n)
	u, dys := unsafe.Slice(up, n), unsafe.Slice(dy, n)
	for i, x := range unsafe.Slice(gate, n) {
		s := sigmoid(x)
		du[i] += dys[i] * x * s
		dg[i] += dys[i] * u[i] * s * (1 + x*(1-s))
	}
}
