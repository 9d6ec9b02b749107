package model

import (
	"cmp"
	"context"
	"math"
	"slices"

	"qtool/internal/kernel/product"
	"qtool/internal/kernel/vector"
)

// LikeRow is a token whose logit no hidden state can set apart, by its row of the head.
type LikeRow struct {
	Token int32
	Zero  bool  // the row is as good as zero, and so is the logit, but for a bias
	Other int32 // one with a row as good as equal, -1 if there is none
	Like  int   // how many others there are
}

const (
	// equalRows is how far from each other rows are as good as equal, as a part of their
	// norm. Their logits then differ by that part of a logit at most; rows of tokens that
	// were trained are far from that, while untrained ones are often closer, and not quite
	// equal.
	equalRows = 0.02
	// zeroRow is the norm of a row that is as good as zero, as a part of the mean norm.
	zeroRow = 1e-3
)

// LikeRows finds, among tokens, those whose row of the head is as good as zero or as that of
// another token: a model whose head is not trained cannot learn to tell them apart. It goes
// through the whole head once and keeps 40 bytes for each row. A head that is trained has
// none.
func (d *Decoder) LikeRows(ctx context.Context, pool *product.Pool, tokens []int32) ([]LikeRow, error) {
	if d.head.Pair != nil || len(d.params) > 0 {
		return nil, nil
	}
	h := newHeadRows(d.head.Expert[0], pool.Workers())
	var found []LikeRow
	err := pool.Within(ctx, func() error {
		pool.Do((h.head.Rows+rowsAtOnce-1)/rowsAtOnce, (*sketchTask)(h))
		h.sort()
		h.tokens, h.found = tokens, make([]LikeRow, len(tokens))
		pool.Do((len(tokens)+rowsAtOnce-1)/rowsAtOnce, (*likeTask)(h))
		found = slices.DeleteFunc(h.found, func(l LikeRow) bool { return !l.Zero && l.Like == 0 })
		return nil
	})
	return found, err
}

// sketchSize is how many sums a row is compared by before it is compared as a whole.
const sketchSize = 8

// sketch has of each eighth of a row the sum of its elements, each with a random sign. The
// squared distance of two sketches is on average that of the rows.
type sketch [sketchSize]float32

// headRows are the rows of a head, sketched.
type headRows struct {
	head     product.Matrix
	signs    []float32 // of each column
	sketches []sketch
	norms    []float32
	mean     float64 // of the norms
	order    []int32 // rows by their first sum, ascending

	tokens  []int32 // to look for
	found   []LikeRow
	buffers [][2][]float32 // rows decoded, by worker
}

func newHeadRows(head product.Matrix, workers int) *headRows {
	h := &headRows{
		head: head, signs: make([]float32, head.Cols), sketches: make([]sketch, head.Rows),
		norms: make([]float32, head.Rows), order: make([]int32, head.Rows), buffers: make([][2][]float32, workers),
	}
	bits := uint64(1)
	for i := range h.signs {
		bits = bits*6364136223846793005 + 1442695040888963407 // Knuth's MMIX
		h.signs[i] = float32(1 - 2*int64(bits>>63))
	}
	for i := range h.buffers {
		h.buffers[i] = [2][]float32{make([]float32, head.Cols), make([]float32, head.Cols)}
	}
	return h
}

// rowsAtOnce is how many rows or tokens a worker takes at a time.
const rowsAtOnce = 64

type sketchTask headRows

// Do implements [work.Task].
func (h *sketchTask) Do(worker, part int) {
	for r := part * rowsAtOnce; r < min((part+1)*rowsAtOnce, h.head.Rows); r++ {
		row := h.head.Row(r, h.buffers[worker][0])
		for k := range sketchSize {
			from, to := k*len(row)/sketchSize, (k+1)*len(row)/sketchSize
			h.sketches[r][k] = vector.Dot(row[from:to], h.signs[from:to])
		}
		h.norms[r] = float32(math.Sqrt(float64(vector.Dot(row, row))))
	}
}

// sort readies the rows for the search.
func (h *headRows) sort() {
	for r, norm := range h.norms {
		h.order[r] = int32(r)
		h.mean += float64(norm) / float64(len(h.norms))
	}
	slices.SortFunc(h.order, func(a, b int32) int {
		return cmp.Or(cmp.Compare(h.sketches[a][0], h.sketches[b][0]), cmp.Compare(a, b))
	})
}

type likeTask headRows

// Do implements [work.Task].
func (l *likeTask) Do(worker, part int) {
	h := (*headRows)(l)
	for i := part * rowsAtOnce; i < min((part+1)*rowsAtOnce, len(h.tokens)); i++ {
		h.found[i] = h.like(h.tokens[i], h.buffers[worker])
	}
}

// like compares the row of a token with all others. Those whose sketches are near are
// compared as a whole, but of very many only the first: the sketches say the same.
func (h *headRows) like(token int32, buffers [2][]float32) LikeRow {
	const compared = 64
	l := LikeRow{Token: token, Zero: h.zero(token), Other: -1}
	near := equalRows * h.norms[token]
	if l.Zero {
		near = float32(zeroRow * h.mean)
	}
	mine := h.head.Row(int(token), buffers[0])
	const spread = sketchSize // the distance of sketches squared is hardly ever so many times that of the rows
	reach := near * float32(math.Sqrt(spread))
	first := h.sketches[token][0]
	from, _ := slices.BinarySearchFunc(h.order, first-reach, func(r int32, x float32) int { return cmp.Compare(h.sketches[r][0], x) })
	tried := 0
	for _, r := range h.order[from:] {
		if h.sketches[r][0] > first+reach {
			break
		}
		if r == token || !nearSketches(&h.sketches[token], &h.sketches[r], reach*reach) {
			continue
		}
		if tried++; tried <= compared && !(distance(mine, h.head.Row(int(r), buffers[1])) <= near) || l.Other < 0 && tried > compared {
			continue
		}
		l.Like++
		if l.Other < 0 || r < l.Other {
			l.Other = r
		}
	}
	return l
}

// zero reports whether the row of a token is as good as zero.
func (h *headRows) zero(token int32) bool { return float64(h.norms[token]) <= zeroRow*h.mean }

// nearSketches reports whether the squared distance of two sketches is at most far.
func nearSketches(a, b *sketch, far float32) bool {
	var sum float32
	for k := range a {
		d := a[k] - b[k]
		if sum += d * d; !(sum <= far) {
			return false
		}
	}
	return true
}

func distance(a, b []float32) float32 {
	var sum float64
	for i := range a {
		d := float64(a[i] - b[i])
		sum += d * d
	}
	return float32(math.Sqrt(sum))
}
