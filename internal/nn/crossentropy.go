package nn

import (
	"math"

	"qtool/internal/kernel/product"
	"qtool/internal/kernel/vector"
)

// headChunkFloats bounds the logits that exist at once in CrossEntropy.
const headChunkFloats = 1 << 20

// CrossEntropy is the fused head and loss. For every row r of x [tokens, n]
// whose target is not [NotScored] it adds the weight of the row times
// -log softmax(head(x_r))[target] to sum, in nats, and the weight to weight. Logits exist
// only for a chunk of the vocabulary at a time, after the softcap of head. In the backward pass the seed
// is scale, so that scale = 1/weight gives the gradients of the mean.
func (t *Tape) CrossEntropy(x *Var, head *Head, targets Targets, scale float32) (sum, weight float64) {
	scored, weight := targets.scored()
	if scored == 0 {
		return 0, 0
	}
	o := newOp[crossEntropyOp](t)
	*o = crossEntropyOp{
		t: t, x: x, head: head, scale: scale, smoothing: targets.Smoothing,
		rows: t.ints.take(scored)[:0], targets: t.ints.take(scored)[:0], rowWeights: t.floats.take(scored)[:0],
		xs: t.floats.take(scored * x.Cols), highest: t.floats.take(scored), atTarget: t.floats.take(scored),
		others: t.doubles.zeros(scored), logSum: t.doubles.take(scored),
	}
	if o.smoothing > 0 {
		o.logitSum = t.doubles.zeros(scored)
	}
	for r, target := range targets.IDs {
		if target != NotScored {
			copy(o.xs[len(o.rows)*x.Cols:], x.Row(r))
			o.rows = append(o.rows, int32(r))
			o.targets = append(o.targets, target)
			o.rowWeights = append(o.rowWeights, targets.weight(r))
		}
	}
	recorded := t.recording && (x.needs || head.trainable())
	if recorded && !head.trainable() && head.Pair == nil && o.smoothing == 0 {
		o.dxs = t.floats.take(scored * x.Cols)
	}
	m := t.floats.at
	o.begin(t)
	sum = o.forward(t)
	o.batch.End()
	t.floats.release(m)
	if recorded {
		t.ops = append(t.ops, o)
	}
	return sum, weight
}

type crossEntropyOp struct {
	t                *Tape
	x                *Var
	head             *Head
	scale, smoothing float32
	rows             []int32 // the scored rows of x
	targets          []int32
	rowWeights       []float32
	xs               []float32 // their content, [scored, n]

	// Of each scored row: the largest logit so far, the sum of exp(logit -
	// highest) of all but the target so far, the target's logit, with smoothing the sum of
	// all logits so far, and in the end the log of the sum of the exponentials of all
	// logits.
	highest, atTarget        []float32
	others, logitSum, logSum []float64

	// dxs is the gradient of xs, [scored, n], where the forward pass computes it
	// along; else nil.
	dxs []float32

	// While it runs: what is multiplied, h = scale·xs·Aᵀ and its gradient dh, [scored, rank].
	batch     *product.Batch
	xRows     product.Rows
	h, dh     []float32
	hRows     product.Rows
	buffer    []float32         // of logits, [scored, rows of the largest chunk]
	weights   [1]product.Matrix // of the chunk
	pairOfOut [1]product.Matrix

	// The chunk at hand: rows from to to-1 of the head.
	from, to int
	logits   []float32 // [scored, to-from]
}

// chunkRows is how many rows of the head are multiplied at once.
func (o *crossEntropyOp) chunkRows() int {
	return min(o.head.Rows, max(64, headChunkFloats/len(o.rows)))
}

// begin readies what the chunks share. The batch must be ended.
func (o *crossEntropyOp) begin(t *Tape) {
	scored := len(o.rows)
	o.buffer = t.floats.take(scored * o.chunkRows())
	o.batch = t.Pool.BeginOne(scored)
	o.xRows = o.batch.Rows(o.xs, o.x.Cols)
	if p := o.head.Pair; p != nil {
		p.view(o.head.Weight)
		o.h = t.floats.take(scored * p.Rank)
		o.batch.Forward(o.h, false, product.Term{Rows: o.xRows, W: p.a})
		o.batch.Run()
		scale(o.h, p.Scale)
		o.hRows = o.batch.Rows(o.h, p.Rank)
	}
}

// chunk computes the logits of rows from on.
func (o *crossEntropyOp) chunk(from int) {
	scored := len(o.rows)
	o.from, o.to = from, min(from+o.chunkRows(), o.head.Rows)
	width := o.to - o.from
	o.logits = o.buffer[:scored*width]
	if b := o.head.Bias; b != nil {
		for i := range scored {
			copy(o.logits[i*width:], b.Data[o.from:o.to])
		}
	}
	o.weights[0] = o.head.Expert[0].Slice(o.from, o.to)
	base := product.Term{Rows: o.xRows, W: o.weights[:]}
	if p := o.head.Pair; p != nil {
		o.pairOfOut[0] = p.b[0].Slice(o.from, o.to)
		o.batch.Forward(o.logits, o.head.Bias != nil, base, product.Term{Rows: o.hRows, W: o.pairOfOut[:]})
	} else {
		o.batch.Forward(o.logits, o.head.Bias != nil, base)
	}
	o.batch.Run()
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
	for from := 0; from < o.head.Rows; from = o.to {
		o.chunk(from)
		t.Pool.Do(rowParts(scored), (*logSumTask)(o))
		if o.dxs != nil {
			m := o.batch.Mark()
			o.batch.Backward(o.dxs, from > 0, product.Term{Rows: o.batch.Rows(o.logits, o.to-o.from), W: o.weights[:]})
			o.batch.Run()
			o.batch.Release(m)
		}
	}
	for i, highest := range o.highest {
		total := o.others[i] + math.Exp(float64(o.atTarget[i])-float64(highest))
		o.logSum[i] = float64(highest) + math.Log(total)
		sum += float64(o.rowWeights[i]) * o.rowLoss(i)
	}
	if o.dxs != nil {
		t.Pool.Do(rowParts(scored), (*finishTask)(o))
	}
	return sum
}

// rowLoss is the loss of scored row i, without its weight.
func (o *crossEntropyOp) rowLoss(i int) float64 {
	loss := o.logSum[i] - float64(o.atTarget[i])
	if o.smoothing == 0 {
		return loss
	}
	mean := o.logSum[i] - o.logitSum[i]/float64(o.head.Rows)
	return loss + float64(o.smoothing)*(mean-loss)
}

// logSumTask takes a chunk into the running sums and leaves the exponentials of
// all logits but the target in their place, relative to the highest so far. A
// higher one shrinks what was summed up before.
type logSumTask crossEntropyOp

func (s *logSumTask) Do(worker, part int) {
	o := (*crossEntropyOp)(s)
	from, to := rowsOf(part, len(o.rows))
	for i := from; i < to; i++ {
		row, target := o.row(i)
		tanh := o.cap(row, worker)
		highest := max(o.highest[i], vector.Highest(row))
		if o.smoothing > 0 {
			o.logitSum[i] += total(row)
		}
		if target >= 0 {
			o.atTarget[i] = row[target]
			row[target] = float32(math.Inf(-1))
		}
		shrink := math.Exp(float64(o.highest[i]) - float64(highest))
		o.others[i] = o.others[i]*shrink + vector.Exp(row, row, highest)
		if o.dxs != nil {
			steepen(row, tanh)
		}
		if n := o.x.Cols; o.dxs != nil && o.from > 0 && shrink != 1 {
			scale(o.dxs[i*n:(i+1)*n], float32(shrink))
		}
		o.highest[i] = highest
	}
}

// cap applies the softcap to a row of logits; tanh is what [steepen] needs of it.
func (o *crossEntropyOp) cap(row []float32, worker int) (tanh []float32) {
	if o.head.Softcap == 0 {
		return nil
	}
	tanh = o.t.workerScratch(worker, len(row))
	softcap(row, tanh, o.head.Softcap)
	return tanh
}

// total is the sum of v.
func total(v []float32) (sum float64) {
	for _, x := range v {
		sum += float64(x)
	}
	return sum
}

// steepen turns gradients of capped logits into those of what was capped; tanh
// is nil without a softcap.
func steepen(grad, tanh []float32) {
	for i, t := range tanh {
		grad[i] *= 1 - t*t
	}
}

// finishTask turns dxs, the sum of rows of the head weighed by the exponentials
// of all logits but the target's, into the gradient: seed·(Σ p·w - w_target),
// in which the target's 1-p is the sum of the others and not a difference.
type finishTask crossEntropyOp

func (f *finishTask) Do(worker, part int) {
	o := (*crossEntropyOp)(f)
	n := o.x.Cols
	from, to := rowsOf(part, len(o.rows))
	for i := from; i < to; i++ {
		dx, inverse, seed := o.dxs[i*n:(i+1)*n], math.Exp(float64(o.highest[i])-o.logSum[i]), o.seed(i)
		scale(dx, float32(inverse)*seed)
		w := o.head.Expert[0].Row(int(o.targets[i]), o.t.workerScratch(worker, n))
		slope := float32(1)
		if limit := o.head.Softcap; limit > 0 {
			tanh := o.atTarget[i] / limit
			slope -= tanh * tanh
		}
		vector.Axpy(dx, -float32(o.others[i]*inverse)*seed*slope, w)
	}
}

// seed is the gradient of the loss of scored row i.
func (o *crossEntropyOp) seed(i int) float32 { return o.scale * o.rowWeights[i] }

func (o *crossEntropyOp) backward(t *Tape) {
	dx, dxs := t.gradOf(o.x), o.dxs
	m := t.floats.at
	if dxs == nil {
		dxs = o.backwardChunks(t, dx != nil)
	}
	if n := o.x.Cols; dx != nil {
		for i, r := range o.rows {
			add(dx[int(r)*n:(int(r)+1)*n], dxs[i*n:(i+1)*n])
		}
	}
	t.floats.release(m)
}

// backwardChunks computes each chunk of logits again, turns it into its gradient,
// seed·(softmax - wanted), and multiplies back from there: what is wanted is 1 at the
// target, or with smoothing 1-smoothing there and smoothing/vocabulary everywhere. It
// returns the gradient of xs, if wanted.
func (o *crossEntropyOp) backwardChunks(t *Tape, wanted bool) (dxs []float32) {
	scored, p := len(o.rows), o.head.Pair
	if wanted {
		dxs = t.floats.take(scored * o.x.Cols)
	}
	if p != nil {
		o.dh = t.floats.take(scored * p.Rank)
	}
	o.begin(t)
	defer o.batch.End()
	for from := 0; from < o.head.Rows; from = o.to {
		o.chunk(from)
		t.Pool.Do(rowParts(scored), (*logitGradTask)(o))
		o.backwardChunk(dxs)
	}
	if p != nil {
		dh := p.backwardA(o.batch, o.xRows, o.dh)
		if wanted {
			o.batch.Backward(dxs, true, product.Term{Rows: dh, W: p.a})
		}
		o.batch.Run()
	}
	return dxs
}

// logitGradTask turns a chunk of logits into their gradients, in place.
type logitGradTask crossEntropyOp

func (g *logitGradTask) Do(worker, part int) {
	o := (*crossEntropyOp)(g)
	from, to := rowsOf(part, len(o.rows))
	for i := from; i < to; i++ {
		row, target := o.row(i)
		tanh, seed := o.cap(row, worker), o.seed(i)
		vector.Exp(row, row, float32(o.logSum[i]))
		scale(row, seed)
		if o.smoothing > 0 {
			shift(row, -seed*o.smoothing/float32(o.head.Rows))
		}
		if target >= 0 {
			row[target] -= seed * (1 - o.smoothing)
		}
		steepen(row, tanh)
	}
}

// shift adds to every element of v.
func shift(v []float32, by float32) {
	for i := range v {
		v[i] += by
	}
}

// backwardChunk multiplies the gradients of the logits at hand back.
func (o *crossEntropyOp) backwardChunk(dxs []float32) {
	l, scored, dl, width := o.head, len(o.rows), o.logits, o.to-o.from
	if l.Bias.Trainable() {
		for i := range scored {
			add(l.Bias.Grad[o.from:o.to], dl[i*width:(i+1)*width])
		}
	}
	m := o.batch.Mark()
	rows := o.batch.Rows(dl, width)
	if dw := l.expertGrad(0); dw != nil {
		o.batch.Outer(dw[o.from*l.Cols:o.to*l.Cols], rows, o.xRows, false)
	}
	if dxs != nil {
		o.batch.Backward(dxs, o.from > 0, product.Term{Rows: rows, W: o.weights[:]})
	}
	if p := l.Pair; p != nil {
		if p.B.Trainable() {
			o.batch.Outer(p.B.Grad[o.from*p.Rank:o.to*p.Rank], rows, o.hRows, p.roundable)
		}
		o.batch.Backward(o.dh, o.from > 0, product.Term{Rows: rows, W: o.pairOfOut[:]})
	}
	o.batch.Run()
	o.batch.Release(m)
}
