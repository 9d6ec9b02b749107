package nn

import "qtool/internal/kernel"

// Rehearse runs f, a computation on the tape, as [kernel.Pool.Rehearse] does:
// without results, but the tape knows afterwards what memory it takes, and will
// allocate that in one piece. It returns what f would multiply. Tokens are spread evenly
// over experts, over identity experts only with [Tape.EvenRouting].
func (t *Tape) Rehearse(f func()) Work {
	work, _ := t.RehearseWithin(0, f)
	return work
}

// RehearseWithin is Rehearse, but gives up before the rehearsals on the tape's pool take
// more than most bytes of address space for results and operands, of which little is ever
// touched; 0 is no limit. What the tape knows then is the least that f takes, and whole is
// false.
func (t *Tape) RehearseWithin(most int64, f func()) (work Work, whole bool) {
	t.floats.rehearsing, t.floats.spend, t.foretold = true, t.Pool.Spend, 0
	before := t.Pool.Multiplications()
	defer func() {
		t.floats.rehearsing, t.floats.shared = false, nil
		t.Reset(false)
	}()
	whole = t.Pool.RehearseWithin(most, f)
	return Work{t.Pool.Multiplications() - before, t.foretold}, whole
}

// RehearsalBytes is the address space that rehearsals took for results. Most of the memory
// behind it is never touched.
func (t *Tape) RehearsalBytes() int64 { return 4 * int64(t.floats.grown) }

// Blank is n elements for a rehearsal to read and write, whose content means nothing.
func (t *Tape) Blank(n int) []float32 { return t.floats.sharedMemory(n) }

// ForgetPeak makes [Tape.PeakBytes] count from here on.
func (t *Tape) ForgetPeak() { t.floats.peak, t.doubles.peak, t.ints.peak = 0, 0, 0 }

// ScratchBytes is the memory that the pool and all workers take for themselves
// beside [Tape.PeakBytes], if each holds what worker 0 does.
func (t *Tape) ScratchBytes() int64 {
	worker := 4*int64(cap(t.scratch[0])) + t.attention[0].bytes()
	return t.Pool.Bytes() + int64(t.Pool.Workers())*worker
}

// Largest is a part with the most query rows.
func (f *attentionForward) Largest() int {
	return (len(f.blocks) - 2 - longestOf(f.blocks)) * f.KVHeads * f.splits
}

// Largest is a part with the most query rows.
func (b *attentionBackward) Largest() int { return longestOf(b.documents) * b.KVHeads * b.splits }

// longestOf is the number of the longest of the ranges that begin at the elements
// of borders but the last.
func longestOf(borders []int32) int {
	longest := 0
	for i := range len(borders) - 1 {
		if borders[i+1]-borders[i] > borders[longest+1]-borders[longest] {
			longest = i
		}
	}
	return longest
}

func (w *attentionWork) bytes() int64 {
	floats := 0
	for _, s := range [][]float32{w.q, w.scores, w.highest, w.out, w.d, w.ds, w.dq, w.tanh} {
		floats += cap(s)
	}
	bytes := 4*int64(floats) + 8*int64(cap(w.sum))
	for _, a := range []*kernel.Left{&w.queries, &w.weights, &w.gradients} {
		bytes += a.Bytes()
	}
	for _, b := range []*kernel.Right{&w.columns, &w.queryTerms, &w.gradientTerms} {
		bytes += b.Bytes()
	}
	return bytes
}
