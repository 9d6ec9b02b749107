package nn

import (
	"reflect"

	"qtool/internal/kernel/product"
)

// Var is a matrix of activations, Rows × Cols, row-major: one row per token.
type Var struct {
	Rows, Cols int
	Data       []float32

	needs   bool      // whether something trainable lies before it
	rounded bool      // Data are as [product.Round] makes them: an operand of products only
	grad    []float32 // allocated when the first gradient arrives
	// oneToken: all rows were made of the same token, one by each expert that it chose.
	oneToken bool
}

// in gives v's rows to a batch, as operands of its products.
func (v *Var) in(b *product.Batch) product.Rows {
	if v.rounded {
		return b.RoundedRows(v.Data, v.Cols)
	}
	return b.Rows(v.Data, v.Cols)
}

// Row is row r of the data.
func (v *Var) Row(r int) []float32 { return v.Data[r*v.Cols : (r+1)*v.Cols] }

// Constant is a Var over data that takes no gradient.
func Constant(data []float32, rows, cols int) *Var {
	return &Var{Rows: rows, Cols: cols, Data: data[:rows*cols]}
}

// Tape runs operators and, while recording, remembers them for Backward.
// A Tape is used by one goroutine; the operators spread over its pool. A loop
// that repeats its computation on one tape allocates only the first time.
type Tape struct {
	Pool *product.Pool
	// Observe, unless nil, sees what every weight is about to be multiplied with: of x,
	// rows groups[e] to groups[e+1]-1 go to expert e. It must not keep x.
	Observe func(w *Weight, x *Var, groups []int32)
	// RouterLoss are the auxiliary losses of routers; nil means none.
	RouterLoss *RouterLoss
	// EvenRouting has routers choose in turn, whatever the scores, identity experts too.
	EvenRouting bool

	floats    arena[float32]
	doubles   arena[float64]
	ints      arena[int32]
	vars      objects[Var]
	recording bool
	// training: the pass belongs to a training step, even while a block that will be computed
	// again runs unrecorded.
	training bool
	ops      []op
	scratch  [][]float32 // by worker

	// What operators keep here, by its type.
	pools map[reflect.Type]operatorPool // see newOp
	works map[reflect.Type]measured     // see perWorker
	kept  map[reflect.Type]any          // see kept
	// rehearsed are the multiplications, beside those that the pool counts, of the rehearsal
	// that is under way.
	rehearsed float64
}

// NewTape makes a tape whose operators run on pool.
func NewTape(pool *product.Pool) *Tape {
	return &Tape{
		Pool: pool, scratch: make([][]float32, pool.Workers()),
		pools: map[reflect.Type]operatorPool{}, works: map[reflect.Type]measured{}, kept: map[reflect.Type]any{},
	}
}

// Reset forgets every Var made so far and sets whether to record from here on. Without,
// functions that llama.cpp rounds are rounded as it does; with, they are smooth.
func (t *Tape) Reset(record bool) {
	t.floats.release(mark{})
	t.doubles.release(mark{})
	t.ints.release(mark{})
	t.vars.reset()
	for _, p := range t.pools {
		p.reset()
	}
	t.ops = t.ops[:0]
	t.recording, t.training = record, record
	if t.floats.wasteful() {
		t.vars, t.ops = objects[Var]{}, nil // they refer to the old slabs
		clear(t.pools)
		t.floats.compact()
	}
}

// PeakBytes is the largest number of bytes that results, gradients and scratch
// took at once since the tape was made.
func (t *Tape) PeakBytes() int64 {
	return 4*int64(t.floats.peak) + 8*int64(t.doubles.peak) + 4*int64(t.ints.peak)
}

// Scoped runs f without recording and takes back the memory of its results.
func (t *Tape) Scoped(f func()) {
	m, recording := t.floats.at, t.recording
	t.recording = false
	f()
	t.recording = recording
	t.floats.release(m)
}

// newVar is an output [rows, cols] with undefined content.
func (t *Tape) newVar(rows, cols int, needs bool) *Var {
	v := t.vars.take()
	*v = Var{Rows: rows, Cols: cols, Data: t.floats.take(rows * cols), needs: needs}
	return v
}

// roundedVar is newVar for elements rounded to bfloat16, two in the place of one.
func (t *Tape) roundedVar(rows, cols int, needs bool) *Var {
	v := t.vars.take()
	*v = Var{Rows: rows, Cols: cols, Data: t.floats.take(rows * cols / 2), needs: needs, rounded: true}
	return v
}

// zeroVar is an output that operators add to.
func (t *Tape) zeroVar(rows, cols int, needs bool) *Var {
	v := t.newVar(rows, cols, needs)
	clear(v.Data)
	return v
}

// record keeps o for Backward if a gradient can flow through it.
func (t *Tape) record(out *Var, o op) {
	if t.recording && out.needs {
		t.ops = append(t.ops, o)
	}
}

// gradOf is where to add v's gradient; nil if none is wanted.
func (t *Tape) gradOf(v *Var) []float32 {
	if !v.needs {
		return nil
	}
	if v.grad == nil {
		v.grad = t.floats.zeros(v.Rows * v.Cols)
	}
	return v.grad
}

// gradToFill is gradOf for an operator that writes every element: what is new is
// not cleared, and add reports whether there is something to add to.
func (t *Tape) gradToFill(v *Var) (grad []float32, add bool) {
	if !v.needs {
		return nil, false
	}
	if v.grad != nil {
		return v.grad, true
	}
	v.grad = t.floats.take(v.Rows * v.Cols)
	return v.grad, false
}

// giveGrad adds g to v's gradient and may keep g itself, which the caller must
// not use afterwards.
func (t *Tape) giveGrad(v *Var, g []float32) {
	switch {
	case !v.needs:
	case v.grad == nil:
		v.grad = g
	default:
		add(v.grad, g)
	}
}

// workerScratch is at least n elements that belong to one worker until its part
// of a task ends.
func (t *Tape) workerScratch(worker, n int) []float32 {
	if len(t.scratch[worker]) < n {
		t.scratch[worker] = make([]float32, n)
	}
	return t.scratch[worker][:n]
}

// Backward walks the recorded operators in reverse. Gradients of trainable
// parameters are added to Param.Grad. Operators that end a graph, such as
// [Tape.CrossEntropy], bring their own seed.
func (t *Tape) Backward() { t.backwardTo(0) }

func (t *Tape) backwardTo(first int) {
	for len(t.ops) > first {
		last := t.ops[len(t.ops)-1]
		t.ops = t.ops[:len(t.ops)-1]
		last.backward(t)
	}
}

// add computes dst += src.
func add(dst, src []float32) {
	dst = dst[:len(src)]
	for i, v := range src {
		dst[i] += v
	}
}
