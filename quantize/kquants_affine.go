package quantize

import "qtool/internal/half"

// Q2_K, Q4_K and Q5_K are found alike: a scale and a minimum for each group, then
// integers for these, then the levels that the rounded scales give.

// affineFormat is what tells the three apart.
type affineFormat struct {
	size     int   // of a group
	levels   int32 // the greatest level
	scales   int32 // the greatest integer scale
	energy   float32
	search   affineSearch // without importance
	weigh    func(w, x []float32)
	saturate [2]bool // integer scales without and with importance
}

var (
	formatQ2_K = affineFormat{
		size: 16, levels: 3, scales: 15, energy: 1, weigh: sizeWeights,
		search: affineSearch{first: -0.5, step: 0.1, steps: 15, absolute: true},
	}
	formatQ4_K = affineFormat{
		size: 32, levels: 15, scales: 63, energy: 2, weigh: levelledWeights,
		search: affineSearch{first: -1, step: 0.1, steps: 20}, saturate: [2]bool{true, false},
	}
	formatQ5_K = affineFormat{
		size: 32, levels: 31, scales: 63, energy: 2, weigh: levelledWeights,
		search: affineSearch{first: -0.5, step: 0.1, steps: 15}, saturate: [2]bool{true, true},
	}
)

// affineBlock is a superblock before it is packed.
type affineBlock struct {
	q         [256]byte
	scale     [16]byte // integers, which multiply d
	low       [16]byte // and dmin
	d, dmin   float32  // as float16 holds them
	d16, dm16 uint16
}

// sizeWeights lets a value weigh its size.
func sizeWeights(w, x []float32) {
	w = w[:len(x)]
	for i, v := range x {
		w[i] = abs32(v)
	}
}

// levelledWeights adds the quadratic mean to each size.
func levelledWeights(w, x []float32) {
	w = w[:len(x)]
	mean := sqrt32(sumSquares(x) / float32(len(x)))
	for i, v := range x {
		w[i] = mean + abs32(v)
	}
}

// fit chooses scales and minimums, in integers, and levels by the scales before they
// were rounded.
func (f *affineFormat) fit(b *affineBlock, x *[256]float32, importance []float32) {
	var scale, low, total [16]float32
	var weights [32]float32
	w := weights[:f.size]
	search := &f.search
	var meanSquare float32
	if importance != nil {
		search = &weightedSearch
		meanSquare = float32(f.energy*sumSquares(x[:])) / 256
	}
	groups := 256 / f.size
	for g := range groups {
		from, to := g*f.size, (g+1)*f.size
		if importance != nil {
			energyWeights(w, x[from:to], importance[from:to], meanSquare)
			total[g] = sum32(w)
		} else {
			f.weigh(w, x[from:to])
		}
		scale[g], low[g] = affineFit(b.q[from:to], x[from:to], w, f.levels, search)
		low[g] = -low[g]
	}
	if importance != nil {
		b.setScale(positiveFit(b.scale[:groups], scale[:groups], total[:groups], f.scales))
		b.setMin(positiveFit(b.low[:groups], low[:groups], total[:groups], f.scales))
	} else {
		b.setScale(spreadScales(b.scale[:groups], scale[:groups], f.scales))
		b.setMin(spreadScales(b.low[:groups], low[:groups], f.scales))
	}
	if i := min(1, len(importance)); f.saturate[i] {
		for g := range groups {
			b.scale[g] = min(b.scale[g], byte(f.scales))
			b.low[g] = min(b.low[g], byte(f.scales))
		}
	}
}

func (b *affineBlock) setScale(d float32) {
	b.d16 = half.ToFloat16(d)
	b.d = half.FromFloat16(b.d16)
}

func (b *affineBlock) setMin(dmin float32) {
	b.dm16 = half.ToFloat16(dmin)
	b.dmin = half.FromFloat16(b.dm16)
}

// spreadScales stores integers for which d * integer is about the scale, so that the
// greatest gets n. Negative scales are noise, and give the low byte of what ggml
// would store.
func spreadScales(q []byte, scales []float32, n int32) (d float32) {
	var top float32
	for _, s := range scales {
		if s > top {
			top = s
		}
	}
	if !(top > 0) {
		clear(q)
		return 0
	}
	inverse := float32(n) / top
	for i, s := range scales {
		q[i] = byte(nearest(float32(inverse * s)))
	}
	return top / float32(n)
}

// relevel chooses the levels of a group again, for value = d * q - low; at d = 0 any
// will do, and ggml leaves those of the search.
func relevel(q []byte, x []float32, d, low float32, n int32) {
	if d == 0 {
		return
	}
	x = x[:len(q)]
	for i := range q {
		q[i] = byte(max(0, min(n, nearest((x[i]+low)/d))))
	}
}

func encodeQ2_K(dst []byte, src, importance []float32) {
	encode256(dst, src, importance, func(out []byte, x *[256]float32, importance []float32) {
		o := (*[84]byte)(out)
		var b affineBlock
		formatQ2_K.fit(&b, x, importance)
		for g := range 16 {
			packed := b.scale[g] | b.low[g]<<4
			o[g] = packed
			relevel(b.q[16*g:16*g+16], x[16*g:], b.d*float32(packed&15), float32(b.dmin*float32(packed>>4)), 3)
		}
		putPairs((*[64]byte)(o[16:]), &b.q)
		le.PutUint16(o[80:], b.d16)
		le.PutUint16(o[82:], b.dm16)
	})
}

func encodeQ4_K(dst []byte, src, importance []float32) {
	encode256(dst, src, importance, func(out []byte, x *[256]float32, importance []float32) {
		var b affineBlock
		formatQ4_K.fit(&b, x, importance)
		b.finish(out, x, 15)
		for p := range 4 {
			qs, q := (*[32]byte)(out[16+32*p:]), (*[64]byte)(b.q[64*p:])
			for l := range qs {
				qs[l] = q[l] | q[l+32]<<4
			}
		}
	})
}

func encodeQ5_K(dst []byte, src, importance []float32) {
	encode256(dst, src, importance, func(out []byte, x *[256]float32, importance []float32) {
		var b affineBlock
		formatQ5_K.fit(&b, x, importance)
		b.finish(out, x, 31)
		high := (*[32]byte)(out[16:])
		clear(high[:])
		for p := range 4 {
			qs, q := (*[32]byte)(out[48+32*p:]), (*[64]byte)(b.q[64*p:])
			for l := range qs {
				qs[l] = q[l]&15 | q[l+32]&15<<4
				high[l] |= (q[l]>>4 | q[l+32]>>4<<1) << (2 * p)
			}
		}
	})
}

// finish stores what Q4_K and Q5_K begin with, and settles the levels.
func (b *affineBlock) finish(out []byte, x *[256]float32, n int32) {
	le.PutUint16(out, b.d16)
	le.PutUint16(out[2:], b.dm16)
	packed := (*[12]byte)(out[4:])
	b.putScales(packed)
	for g := range 8 {
		scale, low := scaleAndMin(packed, g)
		relevel(b.q[32*g:32*g+32], x[32*g:], b.d*scale, float32(b.dmin*low), n)
	}
}

// putScales is the reverse of scaleAndMin.
func (b *affineBlock) putScales(s *[12]byte) {
	for g := range 4 {
		s[g], s[g+4] = b.scale[g], b.low[g]
	}
	for g := 4; g < 8; g++ {
		s[g+4] = b.scale[g]&15 | b.low[g]<<4
		s[g-4] |= b.scale[g] >> 4 << 6
		s[g] |= b.low[g] >> 4 << 6
	}
}
