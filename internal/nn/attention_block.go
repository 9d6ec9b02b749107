package nn

import (
	"math"

	"qtool/internal/kernel/product"
	"qtool/internal/kernel/vector"
)

// attentionWork is what one worker needs to let a stack of query rows meet one
// block of keys after the other.
//
// The stack holds rows from to to-1 of the heads that begin with firstHead and
// share key head kv: query row r of head h is its row (r-from)·heads + h-firstHead.
type attentionWork struct {
	o                *attentionOp
	kv               int
	firstHead, heads int
	from, to         int
	rows             int // of the stack

	q       []float32 // [rows, headDim], times queryScale
	scores  []float32 // [rows, scoreStride], then the probabilities
	highest []float32 // of the scores of a row so far
	sum     []float64 // of the exponentials of a row, relative to it
	out     []float32 // [rows, valueDim]: sums of values, then their gradients dy
	d       []float32 // -dy·y of a row
	ds      []float32 // [rows, scoreStride]: gradients of the scores
	dq      []float32 // [rows, headDim]
	tanh    []float32 // [rows, scoreStride], with a softcap only

	queries, weights, gradients product.Left
	columns                     product.Right // of a block of keys or values
	queryTerms, gradientTerms   product.Right // q and dy, summed over rows
}

// sized makes s hold n elements whose content is not defined.
func sized[E any](s *[]E, n int) []E {
	if cap(*s) < n {
		*s = make([]E, n)
	}
	*s = (*s)[:n]
	return *s
}

// queryScale is what q is multiplied with, and scoreScale what comes after.
func (s *AttentionSpec) queryScale() float32 {
	if s.Softcap > 0 {
		return s.Scale / s.Softcap
	}
	return s.Scale
}

func (s *AttentionSpec) scoreScale() float32 {
	if s.Softcap > 0 {
		return s.Softcap
	}
	return 1
}

// begin stacks the queries.
func (w *attentionWork) begin(o *attentionOp, kv, firstHead, endHead, from, to int) {
	w.o, w.kv, w.firstHead, w.heads, w.from, w.to = o, kv, firstHead, endHead-firstHead, from, to
	w.rows = (to - from) * w.heads
	w.queries.Rounded, w.weights.Rounded, w.gradients.Rounded = o.Roundable, o.Roundable, o.Roundable
	w.columns.Rounded, w.queryTerms.Rounded, w.gradientTerms.Rounded = o.Roundable, o.Roundable, o.Roundable
	w.stack(sized(&w.q, w.rows*o.HeadDim), o.queryScale(), o.q.Data, o.HeadDim, o.q.Cols)
	w.queries.Pack(w.q, o.HeadDim, w.rows, o.HeadDim)
	sized(&w.scores, w.rows*scoreStride)
}

// stack stores factor times the heads' parts of the rows of data, dim elements
// of each head.
func (w *attentionWork) stack(dst []float32, factor float32, data []float32, dim, columns int) {
	clear(dst)
	n := w.heads * dim
	for r := w.from; r < w.to; r++ {
		vector.Axpy(dst[(r-w.from)*n:], factor, data[r*columns+w.firstHead*dim:][:n])
	}
}

// keySpan is a range of key rows inside one block, the first of which, unseen, no row sees.
type keySpan struct{ from, to, unseen int }

func (s keySpan) keys() int { return s.to - s.from }

// spans yields the spans of keys that some row of the stack sees.
func (w *attentionWork) spans(yield func(keySpan) bool) {
	first, _ := w.o.visible(w.from)
	unseen := 0
	if w.o.Roundable { // keys are multiplied two at a time: which two must not depend on the stack
		unseen = first % 2
	}
	_, last := w.o.visible(w.to - 1)
	for k := first / keyBlock * keyBlock; k <= last; k += keyBlock {
		if !yield(keySpan{max(k, first-unseen), min(k+keyBlock, last+1), unseen}) {
			return
		}
		unseen = 0
	}
}

// seen is the part of a span that row i of the stack sees, as columns of it.
func (w *attentionWork) seen(i int, s keySpan) (from, to int) {
	first, last := w.o.visible(w.from + i/w.heads)
	to = max(min(last+1, s.to), s.from)
	return max(min(first, to), s.from) - s.from, to - s.from
}

// reach is how many columns of a span are worked on for a panel of the stack
// that ends before row end: those that it sees, in whole vectors.
func (w *attentionWork) reach(end int, s keySpan) int {
	const vectors = 32
	_, to := w.seen(end-1, s)
	return min((to+vectors-1)/vectors*vectors, s.keys())
}

// firstSeeing is the first row of the stack that sees column j of a span.
func (w *attentionWork) firstSeeing(j int, s keySpan) int {
	return max(s.from+j-w.o.Offset-w.from, 0) * w.heads
}

// scoreStride is the distance of rows of scores. The odd line between them
// keeps them from sharing the cache's sets.
const scoreStride = keyBlock + 16

// load readies the keys or values of a span, transposed or not.
func (w *attentionWork) load(v *Var, dim int, s keySpan, transposed bool) {
	src := v.Data[s.from*v.Cols+w.kv*dim:]
	const fewRows = 16
	switch {
	case transposed:
		w.columns.PackTransposed(src, v.Cols, dim, s.keys())
	case w.rows <= fewRows:
		w.columns.View(src, v.Cols, s.keys(), dim)
	default:
		w.columns.Pack(src, v.Cols, s.keys(), dim)
	}
}

// score computes the scores that the rows see.
func (w *attentionWork) score(s keySpan) {
	w.load(w.o.k, w.o.HeadDim, s, true)
	w.multiplyStack(w.scores, false, &w.queries, s)
	if w.o.Softcap == 0 {
		return
	}
	sized(&w.tanh, w.rows*scoreStride)
	for i := range w.rows {
		from, to := w.seen(i, s)
		x, t := w.scores[i*scoreStride:][from:to], w.tanh[i*scoreStride:][from:to]
		vector.Tanh(t, x)
		copy(x, t)
		scale(x, w.o.scoreScale())
	}
}

// multiplyStack stores the products of the stack's rows and the packed columns, or
// adds them. What no row of a panel sees is left as it is.
func (w *attentionWork) multiplyStack(c []float32, add bool, rows *product.Left, s keySpan) {
	for p := range rows.Panels() {
		_, end := rows.Panel(p)
		product.Multiply(c, scoreStride, add, rows, p, &w.columns, 0, rows.Terms, w.reach(end, s))
	}
}

// addWeighted adds the packed columns, weighted for each row, to c.
func (w *attentionWork) addWeighted(c, weights []float32, dim int, s keySpan) {
	w.weights.Pack(weights, scoreStride, w.rows, s.keys())
	for p := range w.weights.Panels() {
		_, end := w.weights.Panel(p)
		product.Multiply(c, dim, true, &w.weights, p, &w.columns, 0, w.reach(end, s), dim)
	}
}

func (w *attentionWork) forward() {
	o := w.o
	clear(sized(&w.out, w.rows*o.ValueDim))
	sized(&w.highest, w.rows)
	sized(&w.sum, w.rows)
	for i := range w.rows {
		w.highest[i], w.sum[i] = float32(math.Inf(-1)), 0
		if o.Sinks != nil {
			w.highest[i], w.sum[i] = o.Sinks.Data[w.firstHead+i%w.heads], 1
		}
	}
	for s := range w.spans {
		w.score(s)
		for i := range w.rows {
			w.exponentials(i, s)
		}
		w.load(o.v, o.ValueDim, s, false)
		w.addWeighted(w.out, w.scores, o.ValueDim, s)
	}
	for i := range w.rows {
		r, h := w.from+i/w.heads, w.firstHead+i%w.heads
		y := o.y.Data[r*o.y.Cols+h*o.ValueDim:][:o.ValueDim]
		clear(y)
		vector.Axpy(y, float32(1/w.sum[i]), w.out[i*o.ValueDim:][:o.ValueDim])
		o.logSum[h*o.q.Rows+r] = w.highest[i] + float32(math.Log(w.sum[i]))
	}
}

// exponentials replaces the scores of row i by their exponentials, relative to
// the highest so far. A higher one shrinks what the row has summed up.
func (w *attentionWork) exponentials(i int, s keySpan) {
	from, to := w.seen(i, s)
	row := w.scores[i*scoreStride:][:s.keys()]
	clear(row[:from])
	clear(row[to:])
	if from == to {
		return
	}
	row = row[from:to]
	if h := vector.Highest(row); h > w.highest[i] {
		if w.sum[i] != 0 {
			shrink := float32(math.Exp(float64(w.highest[i] - h)))
			w.sum[i] *= float64(shrink)
			scale(w.out[i*w.o.ValueDim:][:w.o.ValueDim], shrink)
		}
		w.highest[i] = h
	}
	w.sum[i] += vector.Exp(row, row, w.highest[i])
}

// backward adds the gradients of the stack's queries, and of its key head to dk
// and dv, which are nil if not wanted.
func (w *attentionWork) backward(dk, dv []float32) {
	w.beginBackward()
	o := w.o
	for s := range w.spans {
		w.score(s)
		for i := range w.rows {
			w.probabilities(i, s)
		}
		if dv != nil {
			w.addTransposed(dv, o.v.Cols, w.scores, &w.gradientTerms, o.ValueDim, s)
		}
		if dk == nil && o.dq == nil {
			continue
		}
		w.scoreGradients(s)
		if dk != nil {
			w.addTransposed(dk, o.k.Cols, w.ds, &w.queryTerms, o.HeadDim, s)
		}
		if o.dq != nil {
			w.load(o.k, o.HeadDim, s, false)
			w.addWeighted(w.dq, w.ds, o.HeadDim, s)
		}
	}
	if o.dq == nil {
		return
	}
	for i := range w.rows {
		r, h := w.from+i/w.heads, w.firstHead+i%w.heads
		dq := o.dq[r*o.q.Cols+h*o.HeadDim:][:o.HeadDim]
		if !o.addDQ {
			clear(dq)
		}
		vector.Axpy(dq, o.queryScale(), w.dq[i*o.HeadDim:][:o.HeadDim])
	}
}

func (w *attentionWork) beginBackward() {
	o := w.o
	n := o.ValueDim
	w.stack(sized(&w.out, w.rows*n), 1, o.y.grad, n, o.y.Cols)
	sized(&w.d, w.rows)
	for i := range w.rows {
		r, h := w.from+i/w.heads, w.firstHead+i%w.heads
		w.d[i] = -vector.Dot(w.out[i*n:][:n], o.y.Data[r*o.y.Cols+h*n:])
	}
	w.gradients.Pack(w.out, n, w.rows, n)
	w.gradientTerms.Pack(w.out, n, w.rows, n)
	w.queryTerms.Pack(w.q, o.HeadDim, w.rows, o.HeadDim)
	sized(&w.ds, w.rows*scoreStride)
	clear(sized(&w.dq, w.rows*o.HeadDim))
}

// probabilities replaces the scores of row i by their probabilities.
func (w *attentionWork) probabilities(i int, s keySpan) {
	from, to := w.seen(i, s)
	row := w.scores[i*scoreStride:][:s.keys()]
	clear(row[:from])
	clear(row[to:])
	r, h := w.from+i/w.heads, w.firstHead+i%w.heads
	vector.Exp(row[from:to], row[from:to], w.o.logSum[h*w.o.q.Rows+r])
}

// scoreGradients computes ds from the probabilities in scores.
func (w *attentionWork) scoreGradients(s keySpan) {
	for i := range w.rows {
		fill(w.ds[i*scoreStride:][:s.keys()], w.d[i])
	}
	w.load(w.o.v, w.o.ValueDim, s, true)
	w.multiplyStack(w.ds, true, &w.gradients, s)
	for i := range w.rows {
		from, to := w.seen(i, s)
		ds := w.ds[i*scoreStride:][:s.keys()]
		clear(ds[:from])
		clear(ds[to:])
		ds = ds[from:to]
		vector.Scale(ds, ds, w.o.scoreScale(), w.scores[i*scoreStride+from:])
		if w.o.Softcap > 0 {
			for j, t := range w.tanh[i*scoreStride:][from:to] {
				ds[j] *= 1 - t*t
			}
		}
	}
}

// addTransposed adds the rows of terms, weighted for each key of a span, to the
// rows of its key head in grad.
func (w *attentionWork) addTransposed(grad []float32, columns int, weights []float32, terms *product.Right, dim int, s keySpan) {
	// What is unseen may be of another document, whose gradients somebody else adds.
	w.weights.View(weights[s.unseen:], scoreStride, s.keys()-s.unseen, w.rows)
	for p := range w.weights.Panels() {
		key, _ := w.weights.Panel(p)
		product.Multiply(grad[(s.from+s.unseen)*columns+w.kv*dim:], columns, true, &w.weights, p, terms, w.firstSeeing(key+s.unseen, s), w.rows, dim)
	}
}

// fill sets every element of v to x.
func fill(v []float32, x float32) {
	if len(v) == 0 {
		return
	}
	v[0] = x
	for n := 1; n < len(v); n *= 2 {
		copy(v[n:], v[:n])
	}
}
