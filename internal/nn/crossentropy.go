package nn

import (
	"math"

	"qtool/internal/kernel"
)

// NotScored is the target of a row that takes no part in the loss.
const NotScored = -100

// headChunkFloats bounds the logits that exist at once in CrossEntropy.
const headChunkFloats = 1 << 20

// CrossEntropy is the fused head and loss. For every row r of x [tokens, n]
// with target targets[r] other than [NotScored] it adds
// -log softmax(head(x_r))[target] to sum, in nats, and counts it. Logits exist
// only for a chunk of the vocabulary at a time. In the backward pass the seed
// is weight per scored row, so that weight = 1/scored gives the mean.
func (t *Tape) CrossEntropy(x *Var, head *Linear, targets []int32, weight float32) (sum float64, scored int) {
	for _, target := range targets {
		if target != NotScored {
			scored++
		}
	}
	if scored == 0 {
		return 0, 0
	}
	o := t.steps.crossEntropy.take()
	*o = crossEntropyOp{
		t: t, x: x, head: head, weight: weight, rows: t.ints.take(scored)[:0], targets: t.ints.take(scored)[:0],
		xs: t.floats.take(scored * x.Cols), highest: t.floats.take(scored),
		total: t.doubles.zeros(scored), atTarget: t.doubles.zeros(scored), logSum: t.doubles.take(scored),
	}
	for r, target := range targets {
		if target != NotScored {
			copy(o.xs[len(o.rows)*x.Cols:], x.Row(r))
			o.rows = append(o.rows, int32(r))
			o.targets = append(o.targets, target)
		}
	}
	if p := head.Pair; p != nil {
		o.h = t.floats.zeros(scored * p.Rank)
		p.view(head.Weight)
		kernel.Forward(t.Pool, o.h, o.xs, scored, p.a[0])
		scale(o.h, p.Scale)
	}
	sum = o.forward(t)
	if t.recording && (x.needs || head.trainable()) {
		t.ops = append(t.ops, o)
	}
	return sum, scored
}

type crossEntropyOp struct {
	t       *Tape
	x       *Var
	head    *Linear
	weight  float32
	rows    []int32 // the scored rows of x
	targets []int32
	xs      []float32 // their content, [scored, n]
	h       []float32 // scale·xs·Aᵀ, [scored, rank]

	// Of each scored row: the largest logit so far, the sum of exp(logit -
	// highest) so far, the target's logit, and in the end the log of the sum of
	// the exponentials of all logits.
	highest                 []float32
	total, atTarget, logSum []float64

	// The chunk at hand: rows from to to-1 of the head.
	from, to int
	logits   []float32 // [scored, to-from]
}

// chunkRows is how many rows of the head are multiplied at once.
func (o *crossEntropyOp) chunkRows() int {
	return min(o.head.Rows, max(64, headChunkFloats/len(o.rows)))
}

// chunk computes the logits of rows from on into buffer.
func (o *crossEntropyOp) chunk(t *Tape, from int, buffer []float32) {
	scored := len(o.rows)
	o.from, o.to = from, min(from+o.chunkRows(), o.head.Rows)
	width := o.to - o.from
	o.logits = buffer[:scored*width]
	clear(o.logits)
	if b := o.head.Bias; b != nil {
		for i := range scored {
			copy(o.logits[i*width:], b.Data[o.from:o.to])
		}
	}
	kernel.Forward(t.Pool, o.logits, o.xs, scored, o.head.Expert[0].Slice(o.from, o.to))
	if p := o.head.Pair; p != nil {
		kernel.Forward(t.Pool, o.logits, o.h, scored, p.b[0].Slice(o.from, o.to))
	}
}

// row is the logits of scored row i in the chunk, and the index of its target
// among them, -1 if it lies elsewhere.
func (o *crossEntropyOp) row(i int) (logits []float32, target int) {
	width := o.to - o.from
	target = int(o.targets[i]) - o.from
	if target < 0 || target >= width {
		target = -1
	}
	return o.logits[i*width : (i+1)*width], target
}

// forward goes through the vocabulary once and returns the summed loss.
func (o *crossEntropyOp) forward(t *Tape) (sum float64) {
	scored := len(o.rows)
	for i := range o.highest {
		o.highest[i] = float32(math.Inf(-1))
	}
	m := t.floats.at
	buffer := t.floats.take(scored * o.chunkRows())
	for from := 0; from < o.head.Rows; from = o.to {
		o.chunk(t, from, buffer)
		t.Pool.Do(rowParts(scored), (*logSumTask)(o))
	}
	t.floats.release(m)
	for i, highest := range o.highest {
		o.logSum[i] = float64(highest) + math.Log(o.total[i])
		sum += o.logSum[i] - o.atTarget[i]
	}
	return sum
}

// logSumTask takes a chunk into the running sums.
type logSumTask crossEntropyOp

func (s *logSumTask) Do(worker, part int) {
	o := (*crossEntropyOp)(s)
	from, to := rowsOf(part, len(o.rows))
	scratch := o.t.workerScratch(worker, o.to-o.from)
	for i := from; i < to; i++ {
		row, target := o.row(i)
		highest := max(o.highest[i], kernel.Highest(row))
		o.total[i] = o.total[i]*math.Exp(float64(o.highest[i]-highest)) + kernel.Exp(scratch, row, highest)
		o.highest[i] = highest
		if target >= 0 {
			o.atTarget[i] = float64(row[target])
		}
	}
}

// backward turns each chunk of logits into its gradient,
// weight·(softmax - one at the target), and multiplies back from there.
func (o *crossEntropyOp) backward(t *Tape) {
	scored, n, p := len(o.rows), o.x.Cols, o.head.Pair
	dx := t.gradOf(o.x)
	m := t.floats.at
	defer t.floats.release(m)
	var dxs, dh []float32
	if dx != nil {
		dxs = t.floats.zeros(scored * n)
	}
	if p != nil {
		dh = t.floats.zeros(scored * p.Rank)
	}
	buffer := t.floats.take(scored * o.chunkRows())
	for from := 0; from < o.head.Rows; from = o.to {
		o.chunk(t, from, buffer)
		t.Pool.Do(rowParts(scored), (*logitGradTask)(o))
		o.backwardChunk(t, dxs, dh)
	}
	if p != nil {
		groups := t.ints.take(2)
		groups[0], groups[1] = 0, int32(scored)
		p.backwardA(t, dxs, o.xs, dh, groups, n)
	}
	if dx != nil {
		for i, r := range o.rows {
			add(dx[int(r)*n:(int(r)+1)*n], dxs[i*n:(i+1)*n])
		}
	}
}

// logitGradTask turns a chunk of logits into their gradients, in place.
type logitGradTask crossEntropyOp

func (g *logitGradTask) Do(_, part int) {
	o := (*crossEntropyOp)(g)
	from, to := rowsOf(part, len(o.rows))
	for i := from; i < to; i++ {
		row, target := o.row(i)
		kernel.Exp(row, row, float32(o.logSum[i]))
		scale(row, o.weight)
		if target >= 0 {
			row[target] -= o.weight
		}
	}
}

// backwardChunk multiplies the gradients of the logits at hand back.
func (o *crossEntropyOp) backwardChunk(t *Tape, dxs, dh []float32) {
	l, scored, dl, width := o.head, len(o.rows), o.logits, o.to-o.from
	if l.Bias.Trainable() {
		for i := range scored {
			add(l.Bias.Grad[o.from:o.to], dl[i*width:(i+1)*width])
		}
	}
	if dw := l.expertGrad(0); dw != nil {
		kernel.AddOuter(t.Pool, dw[o.from*l.Cols:o.to*l.Cols], dl, o.xs, scored, width, l.Cols)
	}
	if dxs != nil {
		kernel.Backward(t.Pool, dxs, dl, scored, l.Expert[0].Slice(o.from, o.to))
	}
	if p := l.Pair; p != nil {
		if p.B.Trainable() {
			kernel.AddOuter(t.Pool, p.B.Grad[o.from*p.Rank:o.to*p.Rank], dl, o.h, scored, width, p.Rank)
		}
		kernel.Backward(t.Pool, dh, dl, scored, p.b[0].Slice(o.from, o.to))
	}
}
