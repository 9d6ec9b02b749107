package nn

// Work is how many multiplications a computation takes.
type Work struct {
	Products  float64 // of activations with weights and pairs, and of their gradients
	Attention float64 // of queries with keys, and of values with what they weigh
}

// Work counts what was multiplied on the tape so far, as a sum over all passes; what
// others multiply on its pool counts too.
func (t *Tape) Work() Work {
	w := Work{Products: t.Pool.Multiplications()}
	for _, works := range t.works {
		w.Attention += works.multiplications()
	}
	return w
}
