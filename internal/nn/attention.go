package nn

import (
	"math"

	"qtool/internal/kernel/vector"
)

// AttentionSpec describes causal attention with grouped heads.
type AttentionSpec struct {
	Heads, KVHeads    int
	HeadDim, ValueDim int // elements of a head of q and k, and of v
	Scale             float32
	// First is, for every query row, the first key row that it may see: that
	// of its document. Rows of one document are consecutive.
	First []int32
	// Offset is the key row of query row 0: the number of cached rows.
	Offset int
	// Window is how many key rows a query row sees at most, its own included;
	// 0 means all.
	Window int
	// Softcap bounds s = scale·q·k to ±Softcap, by Softcap·tanh(s/Softcap); 0
	// means off.
	Softcap float32
	// Roundable lets the products be of factors rounded to bfloat16, where the pool's
	// precision allows it.
	Roundable bool
	// Sinks has one element per head that joins the softmax of every row as
	// the score of a key without a value; nil means none.
	Sinks *Param
}

// Attention computes softmax(scale·q·kᵀ)·v over the key rows that every query
// row r sees: those up to Offset+r of its document and window. q is [tokens,
// heads·headDim], k and v are [keys, kvHeads·dim]; the result is [tokens,
// heads·valueDim]. Scores exist for one block of rows and keys at a time. A
// row of the result is the same, bit for bit, whichever rows it is computed with.
func (t *Tape) Attention(q, k, v *Var, s AttentionSpec) *Var {
	y := t.newVar(q.Rows, s.Heads*s.ValueDim, q.needs || k.needs || v.needs || s.Sinks.Trainable()) // [tokens, heads·valueDim]
	o := newOp[attentionOp](t)
	*o = attentionOp{t: t, works: perWorker[attentionWork](t), q: q, k: k, v: v, y: y, AttentionSpec: s, logSum: t.floats.take(s.Heads * q.Rows)}
	o.Roundable = s.Roundable && t.Pool.Rounds() && q.Rows > 1
	o.findDocuments()
	o.cutForward()
	if t.Pool.Rehearsing() {
		o.rehearseForward()
	}
	t.Pool.Do((len(o.blocks)-1)*s.KVHeads*o.splits, (*attentionForward)(o))
	t.record(y, o)
	return y
}

type attentionOp struct {
	t          *Tape
	works      []attentionWork // by worker
	q, k, v, y *Var
	AttentionSpec
	logSum    []float32 // [heads, tokens]: log of the sum of the exponentials
	documents []int32   // the first query row of each, and after them the number of rows

	splits int     // tasks that share the query heads of one key head
	blocks []int32 // as documents, of the forward pass
	// Gradients, each nil if not wanted; the backward pass's splits but the
	// first add to a copy of dk and dv of their own: [splits-1, keys, kvHeads·dim].
	dq, dk, dv           []float32
	addDQ                bool // to what dq holds already
	partialDK, partialDV []float32
}

// stackRows is about how many query rows, of all the heads that share a key
// head, are worked on at once.
const stackRows = 112

// keyBlock is how many keys they meet at once. Blocks begin at multiples of it:
// it is part of what defines the result.
const keyBlock = 128

// visible are the first and the last key row that query row r sees.
func (o *attentionOp) visible(r int) (first, last int) {
	first, last = int(o.First[r]), o.Offset+r
	if o.Window > 0 {
		first = max(first, last-o.Window+1)
	}
	return first, last
}

// group is the number of query heads of one key head.
func (o *attentionOp) group() int { return o.Heads / o.KVHeads }

// headsOf are the query heads of one split of key head kv.
func (o *attentionOp) headsOf(kv, split int) (from, to int) {
	g := o.group()
	return kv*g + split*g/o.splits, kv*g + (split+1)*g/o.splits
}

func (o *attentionOp) findDocuments() {
	o.documents = o.t.ints.take(o.q.Rows + 1)[:0]
	for r := range o.q.Rows {
		if r == 0 || o.First[r] != o.First[r-1] {
			o.documents = append(o.documents, int32(r))
		}
	}
	o.documents = append(o.documents, int32(o.q.Rows))
}

// cutForward cuts the documents into blocks of rows, and the heads where those
// are too few to keep all workers busy: rows and heads are independent.
func (o *attentionOp) cutForward() {
	rows := max(stackRows/o.group(), 1)
	o.blocks = o.t.ints.take(o.q.Rows + 1)[:0]
	for d := range len(o.documents) - 1 {
		for r := int(o.documents[d]); r < int(o.documents[d+1]); r += rows {
			o.blocks = append(o.blocks, int32(r))
		}
	}
	o.blocks = append(o.blocks, int32(o.q.Rows))
	tasks := max((len(o.blocks)-1)*o.KVHeads, 1)
	o.splits = min(o.group(), (o.t.Pool.Workers()+tasks-1)/tasks)
}

type attentionForward attentionOp

func (f *attentionForward) Do(worker, part int) {
	o := (*attentionOp)(f)
	kv, split := part%o.KVHeads, part/o.KVHeads%o.splits
	// The last rows see the most keys: hand them out first.
	block := len(o.blocks) - 2 - part/(o.KVHeads*o.splits)
	from, to := o.headsOf(kv, split)
	w := &o.works[worker]
	w.begin(o, kv, from, to, int(o.blocks[block]), int(o.blocks[block+1]))
	w.forward()
}

// backward recomputes the probabilities p of each block from logSum. With
// D = dy·y: dv += pᵀ·dy, ds = p·(dy·vᵀ - D)·scale, dq += ds·k, dk += dsᵀ·q.
//
// Tasks are documents times key heads, whose gradients nobody else writes. Few
// such tasks are split by query heads, into so many that it does not depend on
// the number of workers, and their sums added up in order.
func (o *attentionOp) backward(t *Tape) {
	if o.y.grad == nil || o.q.Rows == 0 {
		return
	}
	o.dq, o.addDQ = t.gradToFill(o.q)
	o.dk, o.dv = t.gradOf(o.k), t.gradOf(o.v)
	if t.Pool.Rehearsing() {
		o.rehearseBackward()
	}
	m := t.floats.at
	const enough = 16
	tasks := (len(o.documents) - 1) * o.KVHeads
	o.splits = min(o.group(), (enough+tasks-1)/tasks)
	o.partialDK = t.floats.zeros((o.splits - 1) * len(o.dk))
	o.partialDV = t.floats.zeros((o.splits - 1) * len(o.dv))
	t.Pool.Do(tasks*o.splits, (*attentionBackward)(o))
	if o.splits > 1 {
		t.Pool.Do(rowParts(o.k.Rows), (*attentionReduce)(o))
	}
	t.floats.release(m)
	if o.Sinks.Trainable() {
		o.backwardSinks()
	}
}

type attentionBackward attentionOp

func (b *attentionBackward) Do(worker, part int) {
	o := (*attentionOp)(b)
	kv, split, d := part%o.KVHeads, part/o.KVHeads%o.splits, part/(o.KVHeads*o.splits)
	h0, h1 := o.headsOf(kv, split)
	rows := max(stackRows/(h1-h0), 1)
	end := int(o.documents[d+1])
	w := &o.works[worker]
	for r := int(o.documents[d]); r < end; r += rows {
		w.begin(o, kv, h0, h1, r, min(r+rows, end))
		w.backward(o.splitGrad(o.dk, o.partialDK, split), o.splitGrad(o.dv, o.partialDV, split))
	}
}

// splitGrad is where a split adds to the gradient of k or v.
func (o *attentionOp) splitGrad(grad, partial []float32, split int) []float32 {
	if split == 0 || grad == nil {
		return grad
	}
	return partial[(split-1)*len(grad) : split*len(grad)]
}

type attentionReduce attentionOp

func (a *attentionReduce) Do(_, part int) {
	o := (*attentionOp)(a)
	from, to := rowsOf(part, o.k.Rows)
	for split := 1; split < o.splits; split++ {
		if o.dk != nil {
			partial := o.splitGrad(o.dk, o.partialDK, split)
			vector.Axpy(o.dk[from*o.k.Cols:], 1, partial[from*o.k.Cols:to*o.k.Cols])
		}
		if o.dv != nil {
			partial := o.splitGrad(o.dv, o.partialDV, split)
			vector.Axpy(o.dv[from*o.v.Cols:], 1, partial[from*o.v.Cols:to*o.v.Cols])
		}
	}
}

// backwardSinks: dsink = -Σ over rows of exp(sink)/sum of exponentials · dy·y.
func (o *attentionOp) backwardSinks() {
	for h, sink := range o.Sinks.Data {
		var d float64
		for r := range o.q.Rows {
			p := math.Exp(float64(sink - o.logSum[h*o.q.Rows+r]))
			at := r*o.y.Cols + h*o.ValueDim
			d -= p * vector.Dot64(o.y.grad[at:at+o.ValueDim], o.y.Data[at:])
		}
		o.Sinks.Grad[h] += float32(d)
	}
}
