package quantize

// encode32 stores src in blocks of 32, each by one call of put. The weights are nil
// without importance; with it, a value counts more the larger it is, compared with
// the mean square of the row.
func encode32(dst []byte, src, importance []float32, put func(b []byte, x, weights []float32)) {
	size := len(dst) / max(1, len(src)/32)
	var weights []float32
	var meanSquare float32
	if importance != nil {
		weights = make([]float32, 32)
		for _, v := range src {
			meanSquare += float32(v * v)
		}
		meanSquare /= float32(len(src))
	}
	for i := 0; i < len(src); i += 32 {
		x := src[i : i+32]
		for j := range weights {
			weights[j] = importance[i+j] * sqrt32(meanSquare+float32(x[j]*x[j]))
		}
		put(dst[:size], x, weights)
		dst = dst[size:]
	}
}

// symmetric32 chooses d and q for value = d * (q - n), 0 <= q < 2n.
func symmetric32(q *[32]byte, x, weights []float32, n int32) (d float32) {
	if weights != nil {
		return symmetricFit(q[:], x, weights, n)
	}
	top, _ := extreme(x)
	d = top / float32(-n)
	inverse := reciprocal(d)
	half := float32(n) + 0.5
	for j, v := range x {
		q[j] = byte(min(int8(2*n-1), int8(truncated(float32(v*inverse)+half))))
	}
	return d
}

// affine32 chooses d, low and q for value = d * q + low, 0 <= q <= n.
func affine32(q *[32]byte, x, weights []float32, n int32) (d, low float32) {
	if weights != nil {
		return affineFit(q[:], x, weights, n, &weightedSearch)
	}
	low, high := span(x)
	d = (high - low) / float32(n)
	inverse := reciprocal(d)
	for j, v := range x {
		q[j] = byte(min(int8(n), int8(truncated(float32((v-low)*inverse)+0.5))))
	}
	return d, low
}

func reciprocal(d float32) float32 {
	if d == 0 {
		return 0
	}
	return 1 / d
}

// putLow4 packs the low 4 bits of value j and value j+16 into byte j.
func putLow4(qs []byte, q *[32]byte) {
	for j := range 16 {
		qs[j] = q[j]&15 | q[j+16]<<4
	}
}

// putBit4 packs bit 4 of value j into bit j.
func putBit4(qh []byte, q *[32]byte) {
	var h uint32
	for j, v := range q {
		h |= uint32(v>>4&1) << j
	}
	le.PutUint32(qh, h)
}
