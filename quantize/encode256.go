package quantize

// encode256 stores src in superblocks of 256, each by one call of put. The importance
// of a superblock is nil if there is none.
func encode256(dst []byte, src, importance []float32, put func(b []byte, x *[256]float32, importance []float32)) {
	size := len(dst) / max(1, len(src)/256)
	var part []float32
	for i := 0; i < len(src); i += 256 {
		if importance != nil {
			part = importance[i : i+256]
		}
		put(dst[:size], (*[256]float32)(src[i:]), part)
		dst = dst[size:]
	}
}

// sumSquares adds in order.
func sumSquares(x []float32) (sum float32) {
	for _, v := range x {
		sum += float32(v * v)
	}
	return sum
}

// energyWeights multiplies importance by a value's own size and that of its kind, whose
// mean square is given. That is rounded before it is added to, also where it is a
// product in a caller that this is inlined in.
func energyWeights(w, x, importance []float32, meanSquare float32) {
	importance = importance[:len(x)]
	w = w[:len(x)]
	for i, v := range x {
		w[i] = float32(importance[i] * sqrt32(float32(meanSquare)+float32(v*v)))
	}
}

// squareWeights lets the square of a value weigh.
func squareWeights(w, x []float32) {
	w = w[:len(x)]
	for i, v := range x {
		w[i] = float32(v * v)
	}
}

func sum32(x []float32) (sum float32) {
	for _, v := range x {
		sum += v
	}
	return sum
}

// putPairs stores 2 bits of each value: those of values l, l+32, l+64 and l+96 of each
// half are the four bit pairs of byte l.
func putPairs(qs *[64]byte, q *[256]byte) {
	for i := 0; i < 64; i += 8 {
		q := q[i/32*128+i%32:]
		le.PutUint64(qs[i:], le.Uint64(q)&bitPairs|le.Uint64(q[32:])&bitPairs<<2|le.Uint64(q[64:])&bitPairs<<4|le.Uint64(q[96:])&bitPairs<<6)
	}
}

// Parts of 8 bytes that are packed at once.
const (
	eachByte   = 0x0101010101010101
	bitPairs   = 3 * eachByte
	lowNibbles = 15 * eachByte
)
