package dataset

import (
	"math/bits"
	"slices"
)

// Row is one or more documents side by side. Attention must not cross from one
// document to another, and positions restart at 0 in each.
type Row struct {
	Tokens  []int32
	Targets []int32 // as in Example
	Docs    []int   // where each document starts in Tokens; ascending, the first is 0
}

func (r *Row) append(ex Example) {
	r.Docs = append(r.Docs, len(r.Tokens))
	r.Tokens = append(r.Tokens, ex.Tokens...)
	r.Targets = append(r.Targets, ex.Targets...)
}

// Rows makes a row of each example, in order.
func Rows(examples []Example) []Row {
	rows := make([]Row, len(examples))
	for i, ex := range examples {
		rows[i] = Row{Tokens: ex.Tokens, Targets: ex.Targets, Docs: []int{0}}
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
		return len(examples[b].Tokens) - len(examples[a].Tokens)
	})
	var rows []Row
	open := newShelves(seq)
	for _, i := range order {
		ex := examples[i]
		row, ok := open.take(len(ex.Tokens))
		if !ok {
			row = len(rows)
			rows = append(rows, Row{})
		}
		rows[row].append(ex)
		open.put(row, seq-len(rows[row].Tokens))
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
