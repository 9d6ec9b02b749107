package peft

import (
	"math"
	"slices"

	"qtool/internal/convert"
)

// pair is a LoRA pair on one matrix: the matrix changes by alpha/over · b·a.
type pair struct {
	rank, in, out int
	a, b          []float32 // rank x in, out x rank
	alpha, over   float64

	// What happened on the way: the factor of b, 0 for none; ranks of several pairs; ranks of zeros.
	folded         float32
	joined, padded bool
}

// placed is a pair on some rows of a matrix: its i-th row is row at(i) there.
type placed struct {
	*pair
	at func(i int) int
}

// rowsOf is p on n of its rows, with those ranks that change them; nil if none does.
func (p *pair) rowsOf(n int, at func(i int) int) *pair {
	if n == p.out {
		b := make([]float32, len(p.b))
		for i := range n {
			copy(b[i*p.rank:][:p.rank], p.b[at(i)*p.rank:])
		}
		q := *p
		q.b = b
		return &q
	}
	var used []int
	for r := range p.rank {
		for i := range n {
			if p.b[at(i)*p.rank+r] != 0 {
				used = append(used, r)
				break
			}
		}
	}
	if len(used) == 0 {
		return nil
	}
	q := &pair{rank: len(used), in: p.in, out: n, alpha: p.alpha, over: p.over}
	for _, r := range used {
		q.a = append(q.a, p.a[r*p.in:][:p.in]...)
	}
	q.b = make([]float32, 0, n*q.rank)
	for i := range n {
		for _, r := range used {
			q.b = append(q.b, p.b[at(i)*p.rank+r])
		}
	}
	return q
}

// transposed is the pair on the transposed matrix.
func (p *pair) transposed() *pair {
	return &pair{rank: p.rank, in: p.out, out: p.in, a: exchanged(p.b, p.out, p.rank), b: exchanged(p.a, p.rank, p.in), alpha: p.alpha, over: p.over}
}

// zeroPair changes nothing.
func zeroPair(rank, in, out int, alpha, over float64) *pair {
	return &pair{rank: rank, in: in, out: out, a: make([]float32, rank*in), b: make([]float32, out*rank), alpha: alpha, over: over}
}

// trimmed is p without the last ranks that are zero in both halves, of which one stays.
func (p *pair) trimmed() *pair {
	rank := p.rank
	for ; rank > 1 && allZero(p.a[(rank-1)*p.in:][:p.in]); rank-- {
		for i := range p.out {
			if p.b[i*p.rank+rank-1] != 0 {
				return p.cutTo(rank)
			}
		}
	}
	return p.cutTo(rank)
}

// cutTo is p with its first ranks alone, at the same scale.
func (p *pair) cutTo(rank int) *pair {
	if rank == p.rank {
		return p
	}
	q := *p
	q.rank, q.a, q.b = rank, p.a[:rank*p.in], make([]float32, 0, p.out*rank)
	for i := range p.out {
		q.b = append(q.b, p.b[i*p.rank:][:rank]...)
	}
	return &q
}

// exchanged exchanges rows and columns.
func exchanged(v []float32, rows, columns int) []float32 {
	out := make([]float32, len(v))
	for r := range rows {
		for c := range columns {
			out[c*rows+r] = v[r*columns+c]
		}
	}
	return out
}

// joined is one pair on a matrix of out rows that changes it as the parts do. Parts with the
// same a share it; otherwise their ranks follow each other, and a row's b is zero
// for those of other parts. nil if there are no parts.
func joined(out int, parts []placed) *pair {
	if len(parts) == 0 {
		return nil
	}
	first := parts[0]
	j := &pair{in: first.in, out: out, alpha: first.alpha, over: first.over}
	var begins []int // of the rank of each part
	for i, p := range parts {
		same := slices.IndexFunc(parts[:i], func(q placed) bool { return q.rank == p.rank && slices.Equal(q.a, p.a) })
		if same >= 0 {
			begins = append(begins, begins[same])
			continue
		}
		begins = append(begins, j.rank)
		j.joined = i > 0
		j.rank += p.rank
		j.a = append(j.a, p.a...)
	}
	j.b = make([]float32, out*j.rank)
	for i, p := range parts {
		factor := p.factorTo(j.alpha, j.over)
		if factor != 1 {
			j.folded = factor
		}
		for row := range p.out {
			to := j.b[p.at(row)*j.rank+begins[i]:][:p.rank]
			for r, v := range p.b[row*p.rank:][:p.rank] {
				to[r] = v * factor
			}
		}
	}
	return j
}

// factorTo is what b is multiplied by where the scale becomes alpha/over: 1 where the scales
// differ by no more than float32 holds.
func (p *pair) factorTo(alpha, over float64) float32 {
	const ulp = 1.0 / (1 << 23)
	if factor := p.alpha * over / (p.over * alpha); math.Abs(factor-1) > ulp {
		return float32(factor)
	}
	return 1
}

// scaled multiplies b so that the scale becomes alpha/over.
func (p *pair) scaled(alpha, over float64) {
	if factor := p.factorTo(alpha, over); factor != 1 {
		p.folded = factor
		for i := range p.b {
			p.b[i] *= factor
		}
	}
	p.alpha, p.over = alpha, over
}

// widened is p with more ranks, which change nothing.
func (p *pair) widened(rank int) *pair {
	if p.rank == rank {
		return p
	}
	q := *p
	q.padded = true
	q.rank, q.a, q.b = rank, make([]float32, rank*p.in), make([]float32, p.out*rank)
	copy(q.a, p.a)
	for i := range p.out {
		copy(q.b[i*rank:], p.b[i*p.rank:][:p.rank])
	}
	return &q
}

// toTarget is what the pair on the weight's matrix does to the overlap in the target.
func toTarget(c *convert.Overlap, p *pair) *pair {
	q := p.rowsOf(c.N, c.Rows.At)
	if q != nil && c.Transposed {
		return q.transposed()
	}
	return q
}

// toWeight is what the pair on the target's matrix does to the overlap in the weight.
func toWeight(c *convert.Overlap, p *pair) *pair {
	if c.Transposed {
		p = p.transposed()
	}
	return p.rowsOf(c.N, func(i int) int { return c.Row + i })
}
