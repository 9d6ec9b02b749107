package kernel

// The tanh form of gelu is x·sigmoid(2u) with 2u = geluScale·x·(1 + geluCube·x²).
const (
	geluScale = 2 * 0.79788456080286535588 // 2·sqrt(2/π)
	geluCube  = 0.044715
)

// GeGLU computes dst[i] = gelu(gate[i])·up[i], gelu(x) = x/2·(1 +
// tanh(sqrt(2/π)·(x + 0.044715·x³))). dst may be gate or up.
func GeGLU(dst, gate, up []float32) {
	var sigmoid [geluBlock]float32
	for len(dst) > 0 {
		n := min(len(dst), geluBlock)
		geluSigmoid(sigmoid[:n], gate)
		for i, s := range sigmoid[:n] {
			dst[i] = gate[i] * s * up[i]
		}
		dst, gate, up = dst[n:], gate[n:], up[n:]
	}
}

// GeGLUBackward adds the gradients of GeGLU's arguments, given dy, that of its
// result. No slice may overlap another.
func GeGLUBackward(dgate, dup, gate, up, dy []float32) {
	var sigmoid [geluBlock]float32
	for len(dy) > 0 {
		n := min(len(dy), geluBlock)
		geluSigmoid(sigmoid[:n], gate)
		for i, s := range sigmoid[:n] {
			x := gate[i]
			slope := geluScale * (1 + 3*geluCube*x*x)
			dgate[i] += dy[i] * up[i] * (s + x*s*(1-s)*slope)
			dup[i] += dy[i] * x * s
		}
		dgate, dup, gate, up, dy = dgate[n:], dup[n:], gate[n:], up[n:], dy[n:]
	}
}

// geluBlock is how many elements are worked on at once.
const geluBlock = 256

// geluSigmoid computes dst[i] = sigmoid(2u) of x[i].
func geluSigmoid(dst, x []float32) {
	for i := range dst {
		dst[i] = -geluScale * x[i] * (1 + geluCube*x[i]*x[i])
	}
	Exp(dst, dst, 0)
	for i, e := range dst {
		dst[i] = 1 / (1 + e)
	}
}
