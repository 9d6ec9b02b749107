package vector

import (
	"math"
	"unsafe"

	"qtool/internal/half"
)

// goKernels are the pure-Go twins: the reference that the others are tested against and
// what runs where there is no assembly.
var goKernels = kernels{
	Transposer:  Transposer{2, transposeGo},
	dot:         dotGo,
	axpy:        axpyGo,
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

// transposeGo computes dst[k·stride+r] = rows[r][k] for r < 2 and k < n, in
// ascending order of k.
func transposeGo(dst *float32, stride int, rows *Rows, n int) {
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
