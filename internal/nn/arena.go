package nn

import (
	"runtime/debug"
	"unsafe"
)

// arena hands out memory that lives until the arena is released to an earlier
// mark. Memory is kept for reuse, so a loop that repeats its work allocates only
// the first time round.
type arena[E any] struct {
	slabs [][]E
	at    mark
	peak  int // the most elements that were in use at once

	// In a rehearsal all that is handed out lies in the same memory.
	rehearsing bool
	shared     []E
	grown      int               // elements of all that shared ever was
	spend      func(bytes int64) // asks whether a rehearsal may take so much
}

// mark is a position to release to.
type mark struct {
	slab, off int // the slab in use and its first free element
	inUse     int
}

// slabElements is the least size of a slab.
const slabElements = 1 << 18

// take returns n elements whose content is undefined. They begin with a line of the
// cache, so that no vector crosses one.
func (a *arena[E]) take(n int) []E {
	space := wholeLines[E](n)
	if a.rehearsing {
		a.use(space)
		return a.sharedMemory(n)
	}
	for a.at.slab < len(a.slabs) && a.at.off+space > len(a.slabs[a.at.slab]) {
		a.at.slab++
		a.at.off = 0
	}
	if a.at.slab == len(a.slabs) {
		// Slabs that grow with what is held leave little room at their ends.
		size := max(space, slabElements, a.held()/8)
		if len(a.slabs) == 0 && a.peak > 0 { // what is needed has been rehearsed
			size = max(space, a.peak)
		}
		a.slabs = append(a.slabs, make([]E, size))
	}
	s := a.slabs[a.at.slab][a.at.off : a.at.off+n : a.at.off+n]
	a.at.off += space
	a.use(space)
	return s
}

// sharedMemory is what all lies in that is handed out in a rehearsal, as far as n
// elements.
func (a *arena[E]) sharedMemory(n int) []E {
	if len(a.shared) < n {
		var e E
		a.spend(int64(n) * int64(unsafe.Sizeof(e)))
		a.shared = make([]E, n)
		a.grown += n
	}
	return a.shared[:n:n]
}

// wholeLines is n, rounded up to elements of whole lines.
func wholeLines[E any](n int) int {
	const line = 64
	var e E
	each := line / int(unsafe.Sizeof(e))
	return (n + each - 1) / each * each
}

// use counts n elements that were handed out.
func (a *arena[E]) use(n int) {
	a.at.inUse += n
	a.peak = max(a.peak, a.at.inUse)
}

// zeros returns n zero elements.
func (a *arena[E]) zeros(n int) []E {
	s := a.take(n)
	if !a.rehearsing {
		clear(s)
	}
	return s
}

// release takes back everything handed out since m.
func (a *arena[E]) release(m mark) { a.at = m }

// wasteful reports whether much of the memory lies in slabs that were too small
// for what came.
func (a *arena[E]) wasteful() bool {
	return len(a.slabs) > 1 && a.held() > max(a.peak+a.peak/4, 4*slabElements)
}

// held is the number of elements in all slabs.
func (a *arena[E]) held() (n int) {
	for _, s := range a.slabs {
		n += len(s)
	}
	return n
}

// compact replaces all slabs by one that is as large as the peak. Nothing that was handed
// out may be used any more.
func (a *arena[E]) compact() {
	a.slabs, a.at = nil, mark{}
	debug.FreeOSMemory() // before the new slab: both would be twice the peak
	a.slabs = [][]E{make([]E, a.peak)}
}

// objects hands out zeroed values one by one, all taken back at once.
type objects[E any] struct {
	chunks [][]E
	n      int
}

const objectsPerChunk = 64

func (o *objects[E]) take() *E {
	chunk := o.n / objectsPerChunk
	if chunk == len(o.chunks) {
		o.chunks = append(o.chunks, make([]E, objectsPerChunk))
	}
	e := &o.chunks[chunk][o.n%objectsPerChunk]
	o.n++
	return e
}

// reset takes all values back; they refer to nothing afterwards.
func (o *objects[E]) reset() {
	for i := 0; i < o.n; i += objectsPerChunk {
		clear(o.chunks[i/objectsPerChunk])
	}
	o.n = 0
}
