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
	for i := range t.attention {
		a := &t.attention[i]
		w.Attention += a.queries.Multiplications + a.weights.Multiplications + a.gradients.Multiplications
	}
	return w
}

// seen is how many keys the query rows see, added up.
func (o *attentionOp) seen() (n float64) {
	for r := range o.q.Rows {
		first, last := o.visible(r)
		n += float64(last - first + 1)
	}
	return n
}

// foretellForward counts what a rehearsal passes over. Blocks of rows and keys that
// see each other in part take more.
func (o *attentionOp) foretellForward() {
	o.t.foretold += o.seen() * float64(o.Heads) * float64(o.HeadDim+o.ValueDim)
}

// foretellBackward is foretellForward for the gradients that are wanted.
func (o *attentionOp) foretellBackward() {
	n := o.HeadDim // the scores once more
	if o.dv != nil {
		n += o.ValueDim
	}
	if o.dk != nil || o.dq != nil {
		n += o.ValueDim
	}
	if o.dk != nil {
		n += o.HeadDim
	}
	if o.dq != nil {
		n += o.HeadDim
	}
	o.t.foretold += o.seen() * float64(o.Heads) * float64(n)
}
