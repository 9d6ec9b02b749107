package dataset

import (
	"math/bits"
	"slices"
	"unsafe"
)

// Row is one or more documents side by side. Attention must not cross from one
// document to another, and positions restart at 0 in each.
type Row struct{ Docs []Example }

// Len is the number of positions of the row.
func (r *Row) Len() (n int) {
	for i := range r.Docs {
		n += r.Docs[i].Len()
	}
	return n
}

// CountScored is the number of positions that count.
func (r *Row) CountScored() (n int) {
	for i := range r.Docs {
		n += r.Docs[i].CountScored()
	}
	return n
}

// Bytes is the memory that the row takes.
func (r *Row) Bytes() int64 {
	n := int64(unsafe.Sizeof(*r))
	for _, d := range r.Docs {
		n += int64(unsafe.Sizeof(d)) + 4*int64(cap(d.IDs)+cap(d.Labels)) + int64(unsafe.Sizeof(Span{}))*int64(cap(d.Scored))
	}
	return n
}

// Batch is rows as they are computed.
type Batch struct {
	Tokens  []int32
	Targets []int32   // [Unscored] where they do not count
	Weights []float32 // of the targets, 0 where they do not count; nil if all are 1
	Docs    []int     // where each document starts in Tokens; ascending, the first is 0
}

// Set makes the batch consist of rows; it uses its memory again.
func (b *Batch) Set(rows ...Row) {
	b.Tokens, b.Targets, b.Docs = b.Tokens[:0], b.Targets[:0], b.Docs[:0]
	weighted := false
	for _, r := range rows {
		for i := range r.Docs {
			weighted = weighted || r.Docs[i].Weighted()
			b.Docs = append(b.Docs, len(b.Tokens))
			b.Tokens = append(b.Tokens, r.Docs[i].Tokens()...)
			b.Targets = r.Docs[i].AppendTargets(b.Targets)
		}
	}
	if !weighted {
		b.Weights = nil
		return
	}
	b.Weights = b.Weights[:0]
	for _, r := range rows {
		for i := range r.Docs {
			b.Weights = r.Docs[i].AppendWeights(b.Weights)
		}
	}
}

// Rows makes a row of each example, in order.
func Rows(examples []Example) []Row {
	rows := make([]Row, len(examples))
	for i := range examples {
		rows[i].Docs = examples[i : i+1 : i+1]
	}
	return rows
}

// Pack fits examples into few rows of at most seq positions: longest first, each
// into the fullest row that still has room (best fit decreasing). Among examples
// of one length, the order is drawn from the seed, so that neighbours in the file
// are not always neighbours in a row. An example longer than seq gets a row of its own.
func Pack(examples []Example, seq int, seed uint64) []Row {
	order := permutation(len(examples), seed, streamPack)
	slices.SortStableFunc(order, func(a, b int) int {
		return examples[b].Len() - examples[a].Len()
	})
	var rows []Row
	var left []int // positions of each row that are free
	open := newShelves(seq)
	for _, i := range order {
		n := examples[i].Len()
		row, ok := open.take(n)
		if !ok {
			row = len(rows)
			rows, left = append(rows, Row{}), append(left, seq)
		}
		if len(rows[row].Docs) == 0 {
			rows[row].Docs = examples[i : i+1 : i+1]
		} else {
			rows[row].Docs = append(rows[row].Docs, examples[i])
		}
		left[row] -= n
		open.put(row, left[row])
	}
	return rows
}

// shelves sort rows by the room left in them.
type shelves struct {
	rows  [][]int  // rows[room] have just that room
	taken []uint64 // bit room is set if rows[room] is not empty
}

func newShelves(seq int) *shelves {
	return &shelves{rows: make([][]int, seq+1), taken: make([]uint64, seq/64+1)}
}

func (s *shelves) put(row, room int) {
	if room <= 0 {
		return
	}
	s.rows[room] = append(s.rows[room], row)
	s.taken[room/64] |= 1 << (room % 64)
}

// take removes and returns the row with the least room that is at least need.
func (s *shelves) take(need int) (row int, ok bool) {
	for w := need / 64; w < len(s.taken); w++ {
		word := s.taken[w]
		if w == need/64 {
			word &= ^uint64(0) << (need % 64)
		}
		if word == 0 {
			continue
		}
		room := w*64 + bits.TrailingZeros64(word)
		last := len(s.rows[room]) - 1
		row = s.rows[room][last]
		s.rows[room] = s.rows[room][:last]
		if last == 0 {
			s.taken[w] &^= 1 << (room % 64)
		}
		return row, true
	}
	return 0, false
}
