package kernel

import (
	"math"
	"runtime"
	"unsafe"

	"qtool/internal/half"
)

// goTier is the pure-Go twin of every kernel: the reference that the others
// are tested against and what runs where there is no assembly.
var goTier = tier{
	name: "go",
	tiles: [2][]tileFunc{
		{tileGo1x2, tileGo2x2, tileGo3x2},
		{tileGo1x2, tileGo2x2, tileGo3x2},
	},
	widths:    [2]int{2, 2},
	lanes:     2,
	transpose: transposeGo,
	toPanels:  toPanelsGo,
	dot:       dotGo,
	axpy:      axpyGo,
	peak:      peak{peakGo, 6 * 2},

	elementwise: elementwiseGo,
}

var elementwiseGo = elementwise{
	exp:            expGo,
	highest:        highestGo,
	dot64:          dot64Go,
	scale:          scaleGo,
	swiglu:         swigluGo,
	swigluBackward: swigluBackwardGo,
	geglu:          gegluGo,
	gegluBackward:  gegluBackwardGo,
	roundedGeglu:   roundedGegluGo,
}

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

// transposeGo computes dst[k·stride+r] = rows[r][k] for r < 2 and k < n, in
// ascending order of k.
func transposeGo(dst *float32, stride int, rows *rowPointers, n int) {
	if n == 0 {
		return
	}
	d := unsafe.Slice(dst, (n-1)*stride+2)
	r0, r1 := unsafe.Slice(rows[0], n), unsafe.Slice(rows[1], n)
	for k := range n {
		column := d[k*stride:][:2]
		column[0], column[1] = r0[k], r1[k]
	}
}

func toPanelsGo(dst *float32, step int, src *float32, n int) {
	for i, piece := range unsafe.Slice((*[2]float32)(unsafe.Pointer(src)), n) {
		*(*[2]float32)(unsafe.Pointer(after(dst, i*step))) = piece
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
		du[i] = dys[i] * x * s
		dg[i] = dys[i] * u[i] * s * (1 + x*(1-s))
	}
}

// The tanh form of gelu is x·sigmoid(geluScale·x·(1 + geluCube·x²)).
const (
	geluScale = 2 * 0.79788456080286535588 // 2·sqrt(2/π)
	geluCube  = 0.044715
)

func gegluGo(dst, gate, up *float32, n int) {
	d, u := unsafe.Slice(dst, n), unsafe.Slice(up, n)
	for i, x := range unsafe.Slice(gate, n) {
		d[i] = x * sigmoid(geluScale*x*(1+geluCube*x*x)) * u[i]
	}
}

func roundedGegluGo(dst, gate, up *float32, n int, table *float32) {
	d, u := unsafe.Slice(dst, n), unsafe.Slice(up, n)
	gelu := (*[1 << 16]float32)(unsafe.Pointer(table))
	for i, x := range unsafe.Slice(gate, n) {
		switch {
		case x <= -10:
			d[i] = 0
		case x >= 10:
			d[i] = x * u[i]
		default:
			d[i] = gelu[half.ToFloat16(x)] * u[i]
		}
	}
}

func gegluBackwardGo(dgate, dup, gate, up, dy *float32, n int) {
	dg, du := unsafe.Slice(dgate, n), unsafe.Slice(dup, n)
	u, dys := unsafe.Slice(up, n), unsafe.Slice(dy, n)
	for i, x := range unsafe.Slice(gate, n) {
		s := sigmoid(geluScale * x * (1 + geluCube*x*x))
		du[i] = dys[i] * (x * s)
		dg[i] = dys[i] * u[i] * (s + x*s*(1-s)*(geluScale*(1+3*geluCube*x*x)))
	}
}
