package nn

import "qtool/internal/kernel"

// Var is a matrix of activations, Rows × Cols, row-major: one row per token.
type Var struct {
	Rows, Cols int
	Data       []float32

	needs bool      // whether something trainable lies before it
	grad  []float32 // allocated when the first gradient arrives
}

// Row is row r of the data.
func (v *Var) Row(r int) []float32 { return v.Data[r*v.Cols : (r+1)*v.Cols] }

// Constant is a Var over data that takes no gradient.
func Constant(data []float32, rows, cols int) *Var {
	return &Var{Rows: rows, Cols: cols, Data: data[:rows*cols]}
}

// Tape runs operators and, while recording, remembers them for Backward.
// A Tape is used by one goroutine; the operators spread over its pool.
type Tape struct {
	Pool *kernel.Pool

	arena     Arena
	recording bool
	ops       []op
}

// op is one recorded step. backward adds to the gradients of its inputs, given
// that of its output.
type op interface{ backward(t *Tape) }

// NewTape makes a tape whose operators run on pool.
func NewTape(pool *kernel.Pool) *Tape { return &Tape{Pool: pool} }

// Reset forgets every Var made so far and sets whether to record from here on.
func (t *Tape) Reset(record bool) {
	t.arena.Release(Mark{})
	t.ops = t.ops[:0]
	t.recording = record
}

// PeakBytes is the largest number of bytes that results, gradients and scratch
// took at once since the tape was made.
func (t *Tape) PeakBytes() int64 { return t.arena.Peak() }

// Scoped runs f without recording and takes back all memory that f used.
func (t *Tape) Scoped(f func()) {
	mark, recording := t.arena.Mark(), t.recording
	t.recording = false
	f()
	t.recording = recording
	t.arena.Release(mark)
}

// newVar is an output with undefined content.
func (t *Tape) newVar(rows, cols int, needs bool) *Var {
	return &Var{Rows: rows, Cols: cols, Data: t.arena.Floats(rows * cols), needs: needs}
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
		v.grad = t.arena.Zeros(len(v.Data))
	}
	return v.grad
}

// Backward walks the recorded operators in reverse. Gradients of trainable
// parameters are added to Param.Grad. Operators that end a graph, such as
// [Tape.CrossEntropy], bring their own seed.
func (t *Tape) Backward() { t.backwardTo(0) }

func (t *Tape) backwardTo(first int) {
	for i := len(t.ops) - 1; i >= first; i-- {
		t.ops[i].backward(t)
	}
	t.ops = t.ops[:first]
}

// Checkpoint runs f on x without keeping what f computes in between; the
// backward pass runs f again. f must give the same result each time and must
// not use any other Var that takes a gradient.
func (t *Tape) Checkpoint(x *Var, f func(t *Tape, x *Var) *Var) *Var {
	if !t.recording {
		return f(t, x)
	}
	var out *Var
	t.Scoped(func() {
		y := f(t, x)
		out = &Var{Rows: y.Rows, Cols: y.Cols, Data: y.Data, needs: y.needs}
	})
	// The result lies inside the released memory: move it to its start, which
	// is where a fresh allocation begins or a new slab.
	moved := t.arena.Floats(len(out.Data))
	copy(moved, out.Data)
	out.Data = moved
	t.record(out, &checkpointOp{x: x, out: out, f: f})
	return out
}

type checkpointOp struct {
	x, out *Var
	f      func(t *Tape, x *Var) *Var
}

func (o *checkpointOp) backward(t *Tape) {
	if o.out.grad == nil {
		return
	}
	dx := t.gradOf(o.x)
	mark, first := t.arena.Mark(), len(t.ops)
	x := &Var{Rows: o.x.Rows, Cols: o.x.Cols, Data: o.x.Data, needs: o.x.needs, grad: dx}
	t.recording = true
	y := o.f(t, x)
	y.grad = o.out.grad
	t.backwardTo(first)
	t.arena.Release(mark)
}

// add computes dst += src.
func add(dst, src []float32) {
	dst = dst[:len(src)]
	for i, v := range src {
		dst[i] += v
	}
}
