package nn

import (
	"testing"

	"qtool/internal/kernel/product"
)

// negate is an operator of this file alone: y = -x for x [tokens, n].
func (t *Tape) negate(x *Var) *Var {
	y := t.newVar(x.Rows, x.Cols, x.needs) // [tokens, n]
	o := newOp[negateOp](t)
	*o = negateOp{x: x, y: y, works: perWorker[negateWork](t)}
	t.Pool.Do(rowParts(x.Rows), (*negateForward)(o))
	t.record(y, o)
	return y
}

type negateOp struct {
	x, y  *Var
	works []negateWork
}

type negateWork struct {
	row  []float32
	done float64
}

func (w *negateWork) bytes() int64             { return 4 * int64(cap(w.row)) }
func (w *negateWork) multiplications() float64 { return w.done }

type negateForward negateOp

func (f *negateForward) Do(worker, part int) {
	from, to := rowsOf(part, f.x.Rows)
	w := &f.works[worker]
	row := sized(&w.row, f.x.Cols)
	for r := from; r < to; r++ {
		copy(row, f.x.Row(r))
		scale(row, -1)
		copy(f.y.Row(r), row)
		w.done += float64(len(row))
	}
}

func (o *negateOp) backward(t *Tape) {
	if o.y.grad == nil {
		return
	}
	for i, d := range t.gradOf(o.x) {
		o.x.grad[i] = d - o.y.grad[i]
	}
}

func TestTheTapeKeepsWhatANewOperatorNeeds(t *testing.T) {
	p := product.NewPool(2)
	defer p.Close()
	tape := NewTape(p)
	x, before := &Var{Rows: 40, Cols: 8, Data: make([]float32, 320), needs: true}, tape.ScratchBytes()
	for i := range x.Data {
		x.Data[i] = float32(i)
	}
	step := func() {
		tape.Reset(true)
		x.grad = nil
		y := tape.negate(x)
		y.grad = tape.floats.zeros(len(y.Data))
		y.grad[7] = 3
		tape.Backward()
		if y.Data[5] != -5 || x.grad[7] != -3 {
			t.Fatalf("y = %g, dx = %g", y.Data[5], x.grad[7])
		}
	}
	step()
	if n := testing.AllocsPerRun(5, step); n > 0 {
		t.Errorf("%g allocations in a step that was taken before", n)
	}
	if got := tape.Work().Attention; got != 7*320 {
		t.Errorf("%g multiplications are told", got)
	}
	if tape.ScratchBytes() < before {
		t.Error("the memory of workers became less")
	}
}

func TestOneTypeIsOneMemory(t *testing.T) {
	p := product.NewPool(1)
	defer p.Close()
	tape := NewTape(p)
	type other struct{ n int }
	kept[other](tape).n = 3
	if kept[other](tape).n != 3 || kept[vectorList](tape) == nil {
		t.Error("what is kept is not there again")
	}
	a := newOp[negateOp](tape)
	if b := newOp[negateOp](tape); a == b {
		t.Error("two operators of one pass are one")
	}
	tape.Reset(false)
	if b := newOp[negateOp](tape); a != b {
		t.Error("the memory of an operator is not used again")
	}
}
