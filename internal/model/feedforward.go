package model

import "qtool/internal/nn"

// denseFFN is down(activation(gate·x, up·x)).
type denseFFN struct {
	gate       *nn.Linear // nil: the first half of up's rows
	up, down   *nn.Linear
	activation func(t *nn.Tape, gate, up *nn.Var) *nn.Var
}

func (f *denseFFN) forward(t *nn.Tape, x *nn.Var) *nn.Var {
	if f.gate == nil {
		h := t.Linear(x, f.up)
		half := h.Cols / 2
		return t.Linear(f.activation(t, t.Columns(h, 0, half), t.Columns(h, half, h.Cols)), f.down)
	}
	h := t.Linears(x, f.gate, f.up)
	return t.Linear(f.activation(t, h[0], h[1]), f.down)
}

func (b *binder) feedForward(prefix string, width int) feedForward {
	if b.d.Experts > 0 {
		return b.expertFFN(prefix, width)
	}
	n := b.d.Embedding
	f := &denseFFN{activation: b.activation()}
	if b.arch.fusedGateUp {
		f.up = b.targetLinear(prefix+"ffn_up", n, 2*width, 1)
	} else {
		f.gate = b.targetLinear(prefix+"ffn_gate", n, width, 1)
		f.up = b.targetLinear(prefix+"ffn_up", n, width, 1)
	}
	f.down = b.targetLinear(prefix+"ffn_down", width, n, 1)
	return f
}

func (b *binder) activation() func(t *nn.Tape, gate, up *nn.Var) *nn.Var {
	if b.arch.activation != nil {
		return b.arch.activation
	}
	return (*nn.Tape).SwiGLU
}
