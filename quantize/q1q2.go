package quantize

// Q1_0: 128 signs and one scale; value = d or -d. Bit j%8 of qs[j/8] is set for d.
//
//	0   2          18
//	| d | qs[16]   |
func decodeQ1_0(dst []float32, src []byte) {
	for ; len(src) >= 18; dst, src = dst[128:], src[18:] {
		b, y := (*[18]byte)(src), (*[128]float32)(dst)
		d := float16At(b[:])
		signed := [2]float32{-d, d}
		for i, q := range b[2:] {
			for j := range 8 {
				y[8*i+j] = signed[q>>j&1]
			}
		}
	}
}

// Q2_0: 64 values of 2 bits, value = d * (q - 1), so -d, 0, d, 2d. Value j is in
// bits 2*(j%4) of qs[j/4].
//
//	0   2          18
//	| d | qs[16]   |
func decodeQ2_0(dst []float32, src []byte) {
	for ; len(src) >= 18; dst, src = dst[64:], src[18:] {
		b, y := (*[18]byte)(src), (*[64]float32)(dst)
		d := float16At(b[:])
		level := [4]float32{-1 * d, 0 * d, d, 2 * d}
		for i, q := range b[2:] {
			y[4*i] = level[q&3]
			y[4*i+1] = level[q>>2&3]
			y[4*i+2] = level[q>>4&3]
			y[4*i+3] = level[q>>6]
		}
	}
}
