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
	o := &crossEntropyOp{x: x, head: head, weight: weight}
	for r, target := range targets {
		if target != NotScored {
			o.rows = append(o.rows, r)
			o.targets = append(o.targets, target)
		}
	}
	n := len(o.rows)
	if n == 0 {
		return 0, 0
	}
	o.xs = t.arena.Floats(n * x.Cols)
	for i, r := range o.rows {
		copy(o.xs[i*x.Cols:(i+1)*x.Cols], x.Row(r))
	}
	if p := head.Pair; p != nil {
		o.h = t.arena.Zeros(n * p.Rank)
		kernel.Forward(t.Pool, o.h, o.xs, n, p.matrixA(0, head.Cols))
		scale(o.h, p.Scale)
	}
	o.logSum = make([]float64, n)
	losses := o.losses(t)
	for _, l := range losses {
		sum += l
	}
	if t.recording && (x.needs || head.trainable()) {
		t.ops = append(t.ops, o)
	}
	return sum, n
}

type crossEntropyOp struct {
	x       *Var
	head    *Linear
	weight  float32
	rows    []int // the scored rows of x
	targets []int32
	xs      []float32 // their content, [scored, n]
	h       []float32 // scale·xs·Aᵀ, [scored, rank]
	logSum  []float64 // log of the sum of the exponentials of each row's logits
}

// eachChunk computes logits [scored, to-from] for one part of the vocabulary
// after the other.
func (o *crossEntropyOp) eachChunk(t *Tape, f func(from, to int, logits []float32)) {
	scored := len(o.rows)
	chunk := min(o.head.Rows, max(64, headChunkFloats/scored))
	mark := t.arena.Mark()
	defer t.arena.Release(mark)
	buffer := t.arena.Floats(scored * chunk)
	for from := 0; from < o.head.Rows; from += chunk {
		to := min(from+chunk, o.head.Rows)
		logits := buffer[:scored*(to-from)]
		clear(logits)
		if b := o.head.Bias; b != nil {
			for i := range scored {
				copy(logits[i*(to-from):], b.Data[from:to])
			}
		}
		kernel.Forward(t.Pool, logits, o.xs, scored, o.head.Expert[0].Slice(from, to))
		if p := o.head.Pair; p != nil {
			kernel.Forward(t.Pool, logits, o.h, scored, p.matrixB(0, o.head.Rows).Slice(from, to))
		}
		f(from, to, logits)
	}
}

// losses fills logSum and returns each scored row's loss.
func (o *crossEntropyOp) losses(t *Tape) []float64 {
	scored := len(o.rows)
	highest := make([]float32, scored)
	total, atTarget := make([]float64, scored), make([]float64, scored)
	for i := range highest {
		highest[i] = float32(math.Inf(-1))
	}
	o.eachChunk(t, func(from, to int, logits []float32) {
		t.eachRow(scored, func(i int) {
			row := logits[i*(to-from) : (i+1)*(to-from)]
			before := highest[i]
			for _, l := range row {
				highest[i] = max(highest[i], l)
			}
			total[i] *= math.Exp(float64(before - highest[i]))
			for _, l := range row {
				total[i] += math.Exp(float64(l - highest[i]))
			}
			if target := int(o.targets[i]); from <= target && target < to {
				atTarget[i] = float64(row[target-from])
			}
		})
	})
	losses := make([]float64, scored)
	for i := range losses {
		o.logSum[i] = float64(highest[i]) + math.Log(total[i])
		losses[i] = o.logSum[i] - atTarget[i]
	}
	return losses
}

// backward turns each chunk of logits into its gradient,
// weight·(softmax - one at the target), and multiplies back from there.
func (o *crossEntropyOp) backward(t *Tape) {
	scored, n, p := len(o.rows), o.x.Cols, o.head.Pair
	dx := t.gradOf(o.x)
	mark := t.arena.Mark()
	defer t.arena.Release(mark)
	var dxs, dh []float32
	if dx != nil {
		dxs = t.arena.Zeros(scored * n)
	}
	if p != nil {
		dh = t.arena.Zeros(scored * p.Rank)
	}
	o.eachChunk(t, func(from, to int, logits []float32) {
		t.eachRow(scored, func(i int) {
			row := logits[i*(to-from) : (i+1)*(to-from)]
			for k, l := range row {
				row[k] = o.weight * float32(math.Exp(float64(l)-o.logSum[i]))
			}
			if target := int(o.targets[i]); from <= target && target < to {
				row[target-from] -= o.weight
			}
		})
		o.backwardChunk(t, from, to, logits, dxs, dh)
	})
	if p != nil {
		p.backwardA(t, 0, n, dxs, o.xs, dh, scored)
	}
	for i, r := range o.rows {
		if dx != nil {
			add(dx[r*n:(r+1)*n], dxs[i*n:(i+1)*n])
		}
	}
}

func (o *crossEntropyOp) backwardChunk(t *Tape, from, to int, dl, dxs, dh []float32) {
	l, scored, rows := o.head, len(o.rows), to-from
	if l.Bias.Trainable() {
		for i := range scored {
			add(l.Bias.Grad[from:to], dl[i*rows:(i+1)*rows])
		}
	}
	if dw := l.expertGrad(0); dw != nil {
		kernel.AddOuter(t.Pool, dw[from*l.Cols:to*l.Cols], dl, o.xs, scored, rows, l.Cols)
	}
	if dxs != nil {
		kernel.Backward(t.Pool, dxs, dl, scored, l.Expert[0].Slice(from, to))
	}
	if p := l.Pair; p != nil {
		if p.B.Trainable() {
			kernel.AddOuter(t.Pool, p.B.Grad[from*p.Rank:to*p.Rank], dl, o.h, scored, rows, p.Rank)
		}
		kernel.Backward(t.Pool, dh, dl, scored, p.matrixB(0, l.Rows).Slice(from, to))
	}
}
