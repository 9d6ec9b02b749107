package model

import "qtool/internal/nn"

// gatedHalves is the activation of a projection with the rows of gate, then those of up.
func gatedHalves(t *nn.Tape, h *nn.Var, a nn.Activation) *nn.Var {
	half := h.Cols / 2
	return t.Gated(t.Columns(h, 0, half), t.Columns(h, half, h.Cols), a)
}

// denseFFN is down(activation(gate·x, up·x)).
type denseFFN struct {
	gate       *nn.Linear // nil: the first half of up's rows
	up, down   *nn.Linear
	inputs     []*nn.Linear // of gate and up, those that there are
	activation nn.Activation
}

func (f *denseFFN) readers() []*nn.Linear { return f.inputs }

func (f *denseFFN) forward(t *nn.Tape, x *nn.Var) *nn.Var {
	if f.gate == nil {
		return t.Linear(gatedHalves(t, t.Linear(x, f.up), f.activation), f.down)
	}
	return t.FeedForward(x, f.gate, f.up, f.down, f.activation)
}

// feedForward binds what follows the attention of layer l.
func (b *binder) feedForward(prefix string, l int) feedForward {
	switch {
	case !b.d.Kinds[l].HasDense():
		return b.expertFFN(prefix, l)
	case b.arch.FusedGateUp:
		up := b.targetLinear(prefix+"ffn_up", b.d.Embedding, 2*b.d.FeedForward[l], 1)
		return &denseFFN{
			up: up, down: b.targetLinear(prefix+"ffn_down", b.d.FeedForward[l], b.d.Embedding, 1),
			inputs: []*nn.Linear{up}, activation: b.arch.activation,
		}
	}
	return b.gatedFFN(prefix, "", b.d.FeedForward[l])
}

// gatedFFN binds a block of three matrices, whose names end in suffix.
func (b *binder) gatedFFN(prefix, suffix string, width int) *denseFFN {
	n := b.d.Embedding
	gate, up := b.targetLinear(prefix+"ffn_gate"+suffix, n, width, 1), b.targetLinear(prefix+"ffn_up"+suffix, n, width, 1)
	return &denseFFN{
		gate: gate, up: up, down: b.targetLinear(prefix+"ffn_down"+suffix, width, n, 1),
		inputs: []*nn.Linear{gate, up}, activation: b.arch.activation,
	}
}
