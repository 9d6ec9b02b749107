package model

import (
	"context"
	"math"
	"slices"

	"qtool/internal/kernel/product"
)

// LikeRow is a token whose logit no hidden state can set apart, by its row of the head.
type LikeRow struct {
	Token int32
	Zero  bool  // all elements of the row are 0, and so is the logit, but for a bias
	Other int32 // the first other token with such a row, -1 if there is none
	Like  int   // how many others there are
}

// LikeRows finds, among tokens, those whose row of the head is zero or equals that of another
// token: a model whose head is not trained cannot learn to tell them apart. It goes through
// the whole head once and keeps 8 bytes for each row. A head that is trained has none.
func (d *Decoder) LikeRows(ctx context.Context, pool *product.Pool, tokens []int32) ([]LikeRow, error) {
	if d.head.Pair != nil || len(d.params) > 0 {
		return nil, nil
	}
	h := &headRows{head: d.head.Expert[0], hashes: make([]uint64, d.head.Rows), buffers: make([][]float32, pool.Workers())}
	for i := range h.buffers {
		h.buffers[i] = make([]float32, d.head.Cols)
	}
	err := pool.Within(ctx, func() error {
		pool.Do((d.head.Rows+rowsAtOnce-1)/rowsAtOnce, h)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return h.like(tokens), nil
}

// headRows hashes the rows of a head.
type headRows struct {
	head    product.Matrix
	hashes  []uint64
	buffers [][]float32 // by worker
}

// rowsAtOnce is how many rows a worker hashes at a time.
const rowsAtOnce = 64

// Do implements [work.Task].
func (h *headRows) Do(worker, part int) {
	for r := part * rowsAtOnce; r < min((part+1)*rowsAtOnce, h.head.Rows); r++ {
		h.hashes[r] = hashRow(h.head.Row(r, h.buffers[worker]))
	}
}

// elementBits are those of an element, the same for all that count as 0: rows that were never
// trained are not always exactly 0.
func elementBits(x float32) uint64 {
	const sign, asZero = 1 << 31, 0x24e69595 // of 1e-16
	bits := math.Float32bits(x)
	if bits&^sign <= asZero {
		bits = 0
	}
	return uint64(bits)
}

// hashRow is a hash of two sums over every other two elements, which do not wait for each
// other.
func hashRow(row []float32) uint64 {
	const odd1, odd2 = 0x9e3779b97f4a7c15, 0xc2b2ae3d27d4eb4f
	var a, b uint64
	for ; len(row) >= 4; row = row[4:] {
		a = (a ^ (elementBits(row[0]) | elementBits(row[1])<<32)) * odd1
		b = (b ^ (elementBits(row[2]) | elementBits(row[3])<<32)) * odd2
		a, b = a^a>>29, b^b>>29
	}
	for _, x := range row {
		a = (a ^ elementBits(x)) * odd1
	}
	return a ^ b>>29 ^ b<<35
}

// like finds those of tokens that are like others.
func (h *headRows) like(tokens []int32) (found []LikeRow) {
	groups := map[uint64][]int32{} // rows with the hash of a token
	for _, token := range tokens {
		groups[h.hashes[token]] = nil
	}
	for r, hash := range h.hashes {
		if rows, ok := groups[hash]; ok {
			groups[hash] = append(rows, int32(r))
		}
	}
	first, other := h.buffers[0], make([]float32, h.head.Cols)
	zero := map[uint64]bool{}
	for hash, rows := range groups {
		row := h.head.Row(int(rows[0]), first)
		zero[hash] = zeroRow(row)
		groups[hash] = slices.DeleteFunc(rows, func(r int32) bool { return !equalRows(row, h.head.Row(int(r), other)) })
	}
	for _, token := range tokens {
		hash := h.hashes[token]
		rows := groups[hash]
		i, equal := slices.BinarySearch(rows, token)
		if !equal || len(rows) == 1 && !zero[hash] {
			continue
		}
		l := LikeRow{Token: token, Zero: zero[hash], Other: -1, Like: len(rows) - 1}
		if l.Like > 0 {
			l.Other = rows[0]
			if i == 0 {
				l.Other = rows[1]
			}
		}
		found = append(found, l)
	}
	return found
}

func equalRows(a, b []float32) bool {
	for i := range a {
		if elementBits(a[i]) != elementBits(b[i]) {
			return false
		}
	}
	return true
}

func zeroRow(row []float32) bool {
	for _, x := range row {
		if elementBits(x) != 0 {
			return false
		}
	}
	return true
}
