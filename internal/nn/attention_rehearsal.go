package nn

import "qtool/internal/kernel/product"

// What attention tells of itself: to rehearsals, and to those who measure.

// seen is how many keys the query rows see, added up.
func (o *attentionOp) seen() (n float64) {
	for r := range o.q.Rows {
		first, last := o.visible(r)
		n += float64(last - first + 1)
	}
	return n
}

// rehearseForward counts what a rehearsal passes over. Blocks of rows and keys that
// see each other in part take more.
func (o *attentionOp) rehearseForward() {
	o.t.rehearsed += o.seen() * float64(o.Heads) * float64(o.HeadDim+o.ValueDim)
}

// rehearseBackward is rehearseForward for the gradients that are wanted.
func (o *attentionOp) rehearseBackward() {
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
	o.t.rehearsed += o.seen() * float64(o.Heads) * float64(n)
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
	for _, a := range []*product.Left{&w.queries, &w.weights, &w.gradients} {
		bytes += a.Bytes()
	}
	for _, b := range []*product.Right{&w.columns, &w.queryTerms, &w.gradientTerms} {
		bytes += b.Bytes()
	}
	return bytes
}

// multiplications implements [measured].
func (w *attentionWork) multiplications() float64 {
	return w.queries.Multiplications + w.weights.Multiplications + w.gradients.Multiplications
}
