package quantize

// rowEnergy is the weighting of formats of 32: with importance, a value counts more the
// larger it is, compared with the mean square of the row.
func rowEnergy(x, importance []float32) weighting {
	return energyOf(x, importance, max(1, len(x)), func(sum float32) float32 { return sum / float32(len(x)) })
}

// symmetric32 stores src in blocks by put, after a choice of d and q for
// value = d * (q - n), 0 <= q < 2n.
func symmetric32(src, importance []float32, n int32, put func(block int, d float32, q *[32]byte)) {
	f := newGroupFit(src, 32)
	defer f.giveBack()
	if importance != nil {
		f.symmetric(src, rowEnergy(src, importance), n)
	} else {
		f.symmetricSpread(src, n)
	}
	for i, d := range f.scale {
		put(i, d, (*[32]byte)(f.levels[32*i:]))
	}
}

// symmetricSpread puts the extreme value at level -n.
func (f *groupFit) symmetricSpread(x []float32, n int32) {
	half := float32(n) + 0.5
	for g := range f.scale {
		q, x := f.levels[32*g:32*g+32], x[32*g:32*g+32]
		top, _ := extreme(x)
		f.scale[g] = top / float32(-n)
		inverse := reciprocal(f.scale[g])
		for j, v := range x {
			q[j] = byte(min(int8(2*n-1), int8(truncated(float32(v*inverse)+half))))
		}
	}
}

// affine32 stores src in blocks by put, after a choice of d, low and q for
// value = d * q + low, 0 <= q <= n.
func affine32(src, importance []float32, n int32, put func(block int, d, low float32, q *[32]byte)) {
	f := newGroupFit(src, 32)
	defer f.giveBack()
	if importance != nil {
		f.affine(src, rowEnergy(src, importance), n, &weightedSearch)
	} else {
		f.affineSpread(src, n)
	}
	for i, d := range f.scale {
		put(i, d, f.low[i], (*[32]byte)(f.levels[32*i:]))
	}
}

// affineSpread spreads the levels over all values.
func (f *groupFit) affineSpread(x []float32, n int32) {
	for g := range f.scale {
		q, x := f.levels[32*g:32*g+32], x[32*g:32*g+32]
		low, high := span(x)
		f.scale[g], f.low[g] = (high-low)/float32(n), low
		inverse := reciprocal(f.scale[g])
		for j, v := range x {
			q[j] = byte(min(int8(n), int8(truncated(float32((v-low)*inverse)+0.5))))
		}
	}
}

func reciprocal(d float32) float32 {
	if d == 0 {
		return 0
	}
	return 1 / d
}

// putLow4 packs the low 4 bits of value j and value j+16 into byte j.
func putLow4(qs []byte, q *[32]byte) {
	for j := 0; j < 16; j += 8 {
		le.PutUint64(qs[j:], le.Uint64(q[j:])&lowNibbles|le.Uint64(q[j+16:])&lowNibbles<<4)
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
