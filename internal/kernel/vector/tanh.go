package vector

import "math"

// Tanh computes dst[i] = tanh(src[i]), off by at most 4 units in the last
// place. dst must not overlap src.
func Tanh(dst, src []float32) {
	dst = dst[:len(src)]
	for i, x := range src {
		dst[i] = -2 * abs(x)
	}
	Exp(dst, dst, 0)
	for i, x := range src {
		y := (1 - dst[i]) / (1 + dst[i])
		if s := x * x; s < 1.0/64 { // where 1 - exp loses digits
			y = abs(x) * (1 + s*(-1.0/3+s*(2.0/15-s*(17.0/315))))
		}
		dst[i] = float32(math.Copysign(float64(y), float64(x)))
	}
}

func abs(x float32) float32 { return math.Float32frombits(math.Float32bits(x) &^ (1 << 31)) }
