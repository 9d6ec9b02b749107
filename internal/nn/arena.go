package nn

// Arena hands out float32 memory that lives until the arena is released to an
// earlier mark. Memory is kept for reuse, so a loop that repeats its work
// allocates only the first time round.
type Arena struct {
	slabs [][]float32
	slab  int // the slab in use
	off   int // its first free element
	inUse int
	peak  int
}

const slabFloats = 1 << 20

// Mark is a position to release to.
type Mark struct{ slab, off, inUse int }

// Floats returns n elements whose content is undefined.
func (a *Arena) Floats(n int) []float32 {
	for a.slab < len(a.slabs) && a.off+n > len(a.slabs[a.slab]) {
		a.slab++
		a.off = 0
	}
	if a.slab == len(a.slabs) {
		a.slabs = append(a.slabs, make([]float32, max(n, slabFloats)))
		a.off = 0
	}
	s := a.slabs[a.slab][a.off : a.off+n : a.off+n]
	a.off += n
	a.inUse += n
	a.peak = max(a.peak, a.inUse)
	return s
}

// Zeros returns n elements of value 0.
func (a *Arena) Zeros(n int) []float32 {
	s := a.Floats(n)
	clear(s)
	return s
}

// Mark notes the current position.
func (a *Arena) Mark() Mark { return Mark{a.slab, a.off, a.inUse} }

// Release takes back everything handed out since m.
func (a *Arena) Release(m Mark) { a.slab, a.off, a.inUse = m.slab, m.off, m.inUse }

// Peak is the largest number of bytes that was in use at once.
func (a *Arena) Peak() int64 { return 4 * int64(a.peak) }
