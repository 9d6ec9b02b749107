package vector

import (
	"math"
	"unsafe"
)

// Dot is the sum of a[i]·b[i]; b is at least as long as a. The order of the
// sum depends on the length and the tier alone.
func Dot(a, b []float32) float32 {
	if len(a) == 0 {
		return 0
	}
	b = b[:len(a)]
	return active().dot(unsafe.SliceData(a), unsafe.SliceData(b), len(a))
}

// Axpy computes y[i] += a·x[i]; y is at least as long as x.
func Axpy(y []float32, a float32, x []float32) {
	if len(x) == 0 {
		return
	}
	y = y[:len(x)]
	active().axpy(unsafe.SliceData(y), a, unsafe.SliceData(x), len(x))
}

// FirstNotFinite is the index of the first element of v that is NaN or
// infinite, or -1.
func FirstNotFinite(v []float32) int {
	for i, x := range v {
		if math.Float32bits(x)&0x7f800000 == 0x7f800000 {
			return i
		}
	}
	return -1
}
