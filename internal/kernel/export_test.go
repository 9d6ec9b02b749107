package kernel

import "time"

// HasDecoder reports whether the tier in use decodes m by itself, to float32
// and to bfloat16.
func HasDecoder(m Matrix) (float32, bf16 bool) {
	d := active.decoders[m.typ]
	return d.float32 != nil, d.bf16 != nil
}

// PartBF16 decodes a part of row r to bfloat16.
func PartBF16(m Matrix, dst []uint16, r, from, to int) {
	active.pairs.rows(active, dst, to-from, &m, r, r+1, from, to, new([]float32))
}

// fix sets the distance for good.
func (d *distance) fix(far bool) { d.far, d.last = far, time.Now().Add(time.Hour) }
