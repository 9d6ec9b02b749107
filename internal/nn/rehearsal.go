package nn

// Rehearse runs f, a computation on the tape, as [product.Pool.Rehearse] does:
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
	t.floats.rehearsing, t.floats.spend, t.rehearsed = true, t.Pool.Spend, 0
	before := t.Pool.Multiplications()
	defer func() {
		t.floats.rehearsing, t.floats.shared = false, nil
		t.Reset(false)
	}()
	whole = t.Pool.RehearseWithin(most, f)
	return Work{t.Pool.Multiplications() - before, t.rehearsed}, whole
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
	worker := 4 * int64(cap(t.scratch[0]))
	for _, w := range t.works {
		worker += w.bytes()
	}
	return t.Pool.Bytes() + int64(t.Pool.Workers())*worker
}
