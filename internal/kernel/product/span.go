package product

import "sync/atomic"

// span is a range of rows of which workers take steps: its own worker from the
// front, others from the back. Spans lie on cache lines of their own.
type span struct {
	rows atomic.Uint64 // the first, and 32 bits lower the one behind the last
	_    [120]byte
}

func (s *span) set(from, to int) { s.rows.Store(uint64(from)<<32 | uint64(to)) }

// take takes a quarter of what is left, but at least so many rows, if there are.
func (s *span) take(least int, back bool) (from, to int) {
	for {
		rows := s.rows.Load()
		first, end := int(rows>>32), int(uint32(rows))
		n := min(max((end-first)/4, least), end-first)
		if n == 0 {
			return 0, 0
		}
		from, to = first, first+n
		left := uint64(to)<<32 | uint64(end)
		if back {
			from, to = end-n, end
			left = uint64(first)<<32 | uint64(from)
		}
		if s.rows.CompareAndSwap(rows, left) {
			return from, to
		}
	}
}
