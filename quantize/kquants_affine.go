package quantize

import (
	"qtool/internal/half"
	"qtool/internal/kernel/coding"
)

// Q2_K, Q4_K and Q5_K are found alike: a scale and a minimum for each group, then
// integers for these, then the levels that the rounded scales give.

// affineFormat is what tells the three apart.
type affineFormat struct {
	size     int   // of a group
	levels   int32 // the greatest level
	scales   int32 // the greatest integer scale
	bytes    int   // of a superblock
	energy   float32
	search   affineSearch    // without importance
	weigh    coding.Weighing // likewise
	saturate [2]bool         // integer scales without and with importance
}

var (
	formatQ2_K = affineFormat{
		size: 16, levels: 3, scales: 15, bytes: 84, energy: 1, weigh: coding.Size,
		search: affineSearch{first: -0.5, step: 0.1, steps: 15, absolute: true},
	}
	formatQ4_K = affineFormat{
		size: 32, levels: 15, scales: 63, bytes: 144, energy: 2, weigh: coding.Levelled,
		search: affineSearch{first: -1, step: 0.1, steps: 20}, saturate: [2]bool{true, false},
	}
	formatQ5_K = affineFormat{
		size: 32, levels: 31, scales: 63, bytes: 176, energy: 2, weigh: coding.Levelled,
		search: affineSearch{first: -0.5, step: 0.1, steps: 15}, saturate: [2]bool{true, true},
	}
)

// affineBlock is a superblock before it is packed.
type affineBlock struct {
	fit       *groupFit // its groups, and all of the row x
	x         []float32
	number    int
	q         *[256]byte
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

// encode searches the groups of src, and has put pack each superblock, whose integer
// scales are chosen and whose levels go with the scales before they were rounded.
func (f *affineFormat) encode(dst []byte, src, importance []float32, put func(out []byte, b *affineBlock)) {
	found := newGroupFit(src, f.size)
	defer found.giveBack()
	w, search := weighting{by: f.weigh}, &f.search
	if importance != nil {
		w = energyOf(src, importance, 256, func(sum float32) float32 { return float32(f.energy*sum) / 256 })
		search = &weightedSearch
	}
	found.affine(src, w, f.levels, search)
	groups := 256 / f.size
	b := affineBlock{fit: found, x: src}
	for i := range len(src) / 256 {
		first, last := i*groups, (i+1)*groups
		f.chooseScales(&b, found.scale[first:last], found.low[first:last], found.total[first:last], importance != nil)
		b.number, b.q = i, (*[256]byte)(found.levels[256*i:])
		put(dst[i*f.bytes:(i+1)*f.bytes], &b)
	}
}

// chooseScales makes integers of the scales and minimums of a superblock. It negates low.
func (f *affineFormat) chooseScales(b *affineBlock, scale, low, total []float32, weighted bool) {
	for g := range low {
		low[g] = -low[g]
	}
	integers, integerLows, saturate := b.scale[:len(scale)], b.low[:len(low)], f.saturate[0]
	if weighted {
		b.setScale(positiveFit(integers, scale, total, f.scales))
		b.setMin(positiveFit(integerLows, low, total, f.scales))
		saturate = f.saturate[1]
	} else {
		b.setScale(spreadScales(integers, scale, f.scales))
		b.setMin(spreadScales(integerLows, low, f.scales))
	}
	if saturate {
		for g := range integers {
			integers[g] = min(integers[g], byte(f.scales))
			integerLows[g] = min(integerLows[g], byte(f.scales))
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

func encodeQ2_K(dst []byte, src, importance []float32) {
	formatQ2_K.encode(dst, src, importance, func(out []byte, b *affineBlock) {
		o := (*[84]byte)(out)
		for g := range 16 {
			packed := b.scale[g] | b.low[g]<<4
			o[g] = packed
			b.fit.step[g], b.fit.base[g] = b.d*float32(packed&15), b.dmin*float32(packed>>4)
		}
		b.fit.relevel(b.number, b.x, 0, 3, 0)
		putPairs((*[64]byte)(o[16:]), b.q)
		le.PutUint16(o[80:], b.d16)
		le.PutUint16(o[82:], b.dm16)
	})
}

func encodeQ4_K(dst []byte, src, importance []float32) {
	formatQ4_K.encode(dst, src, importance, func(out []byte, b *affineBlock) {
		b.finish(out, 15)
		putNibbles(out[16:], b.q)
	})
}

func encodeQ5_K(dst []byte, src, importance []float32) {
	formatQ5_K.encode(dst, src, importance, func(out []byte, b *affineBlock) {
		b.finish(out, 31)
		putNibbles(out[48:], b.q)
		for l := 0; l < 32; l += 8 {
			var high uint64
			for g := range 8 {
				high |= le.Uint64(b.q[32*g+l:]) >> 4 & eachByte << g
			}
			le.PutUint64(out[16+l:], high)
		}
	})
}

// putNibbles stores the low 4 bits of pairs of groups of 32: one in low, one in high halves.
func putNibbles(qs []byte, q *[256]byte) {
	for i := 0; i < 128; i += 8 {
		from := i/32*64 + i%32
		le.PutUint64(qs[i:], le.Uint64(q[from:])&lowNibbles|le.Uint64(q[from+32:])&lowNibbles<<4)
	}
}

// finish stores what Q4_K and Q5_K begin with, and settles the levels.
func (b *affineBlock) finish(out []byte, n int32) {
	le.PutUint16(out, b.d16)
	le.PutUint16(out[2:], b.dm16)
	packed := (*[12]byte)(out[4:])
	b.putScales(packed)
	for g := range 8 {
		scale, minimum := scaleAndMin(packed, g)
		b.fit.step[g], b.fit.base[g] = b.d*scale, b.dmin*minimum
	}
	b.fit.relevel(b.number, b.x, 0, n, 0)
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
