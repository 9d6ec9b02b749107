package nn

import (
	"math"

	"qtool/internal/kernel"
)

// AttentionSpec describes causal attention with grouped heads.
type AttentionSpec struct {
	Heads, KVHeads    int
	HeadDim, ValueDim int // elements of a head of q and k, and of v
	Scale             float32
	// First is, for every query row, the first key row that it sees: that of
	// its document. Rows of one document are consecutive.
	First []int32
	// Offset is the key row of query row 0: the number of cached rows.
	Offset int
}

// Attention computes softmax(scale·q·kᵀ)·v over the key rows First[r] to
// Offset+r of every query row r. q is [tokens, heads·headDim], k and v are
// [keys, kvHeads·dim]; the result is [tokens, heads·valueDim]. Scores exist for
// one query row at a time only.
func (t *Tape) Attention(q, k, v *Var, s AttentionSpec) *Var {
	y := t.zeroVar(q.Rows, s.Heads*s.ValueDim, q.needs || k.needs || v.needs)
	o := t.steps.attention.take()
	*o = attentionOp{t: t, q: q, k: k, v: v, y: y, AttentionSpec: s, logSum: t.floats.take(s.Heads * q.Rows)}
	t.Pool.Do(rowParts(q.Rows)*s.Heads, (*attentionForward)(o))
	t.record(y, o)
	return y
}

type attentionOp struct {
	t          *Tape
	q, k, v, y *Var
	AttentionSpec
	logSum []float32 // [heads, tokens]: log of the sum of the exponentials

	documents  []int32   // their first rows, and behind them the number of rows
	dq, dk, dv []float32 // each may be nil
}

type attentionForward attentionOp

func (f *attentionForward) Do(worker, part int) {
	o := (*attentionOp)(f)
	// The last rows see the most keys: hand them out first.
	h := part % o.Heads
	from, to := rowsOf(rowParts(o.q.Rows)-1-part/o.Heads, o.q.Rows)
	scores := o.t.workerScratch(worker, o.Offset+to)
	for r := from; r < to; r++ {
		o.forwardRow(h, r, scores)
	}
}

func (o *attentionOp) query(h, r int, data []float32) []float32 {
	return data[r*o.q.Cols+h*o.HeadDim:][:o.HeadDim]
}

func (o *attentionOp) key(kv, j int, data []float32) []float32 {
	return data[j*o.k.Cols+kv*o.HeadDim:][:o.HeadDim]
}

func (o *attentionOp) value(kv, j int, data []float32) []float32 {
	return data[j*o.v.Cols+kv*o.ValueDim:][:o.ValueDim]
}

func (o *attentionOp) output(h, r int, data []float32) []float32 {
	return data[r*o.y.Cols+h*o.ValueDim:][:o.ValueDim]
}

func (o *attentionOp) forwardRow(h, r int, scores []float32) {
	kv := h / (o.Heads / o.KVHeads)
	q := o.query(h, r, o.q.Data)
	first, last := int(o.First[r]), o.Offset+r
	s := scores[:last+1-first]
	for i := range s {
		s[i] = o.Scale * kernel.Dot(q, o.key(kv, first+i, o.k.Data))
	}
	highest := kernel.Highest(s)
	sum := kernel.Exp(s, s, highest)
	out := o.output(h, r, o.y.Data)
	for i, p := range s {
		kernel.Axpy(out, p, o.value(kv, first+i, o.v.Data))
	}
	scale(out, float32(1/sum))
	o.logSum[h*o.q.Rows+r] = highest + float32(math.Log(sum))
}

// backward recomputes the probabilities p of each row from logSum. With
// D = dy·y: dv += p·dy, ds = p·(dy·v - D)·scale, dq += ds·k, dk += ds·q.
// Tasks are documents times key heads, whose gradients nobody else writes.
func (o *attentionOp) backward(t *Tape) {
	if o.y.grad == nil {
		return
	}
	o.dq, o.dk, o.dv = t.gradOf(o.q), t.gradOf(o.k), t.gradOf(o.v)
	o.documents = t.ints.take(o.q.Rows + 1)[:0]
	for r := range o.q.Rows {
		if r == 0 || o.First[r] != o.First[r-1] {
			o.documents = append(o.documents, int32(r))
		}
	}
	o.documents = append(o.documents, int32(o.q.Rows))
	t.Pool.Do((len(o.documents)-1)*o.KVHeads, (*attentionBackward)(o))
}

type attentionBackward attentionOp

func (b *attentionBackward) Do(worker, part int) {
	o := (*attentionOp)(b)
	kv, d := part%o.KVHeads, part/o.KVHeads
	group := o.Heads / o.KVHeads
	scratch := o.t.workerScratch(worker, o.Offset+int(o.documents[d+1]))
	for h := kv * group; h < (kv+1)*group; h++ {
		for r := int(o.documents[d]); r < int(o.documents[d+1]); r++ {
			o.backwardRow(h, kv, r, scratch)
		}
	}
}

func (o *attentionOp) backwardRow(h, kv, r int, scratch []float32) {
	q, dy := o.query(h, r, o.q.Data), o.output(h, r, o.y.grad)
	d := kernel.Dot(dy, o.output(h, r, o.y.Data))
	first := int(o.First[r])
	p := scratch[:o.Offset+r+1-first]
	for i := range p {
		p[i] = o.Scale * kernel.Dot(q, o.key(kv, first+i, o.k.Data))
	}
	kernel.Exp(p, p, o.logSum[h*o.q.Rows+r])
	for i, p := range p {
		j := first + i
		if o.dv != nil {
			kernel.Axpy(o.value(kv, j, o.dv), p, dy)
		}
		ds := p * (kernel.Dot(dy, o.value(kv, j, o.v.Data)) - d) * o.Scale
		if o.dq != nil {
			kernel.Axpy(o.query(h, r, o.dq), ds, o.key(kv, j, o.k.Data))
		}
		if o.dk != nil {
			kernel.Axpy(o.key(kv, j, o.dk), ds, q)
		}
	}
}
