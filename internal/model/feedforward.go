package model

import "qtool/internal/nn"

// gatedColumns is the activation of h [rows, 2·width], whose first columns are those of
// gate and whose last ones those of up: [rows, width].
func gatedColumns(t *nn.Tape, h *nn.Var, a nn.Activation) *nn.Var {
	width := h.Cols / 2
	return t.Gated(t.Columns(h, 0, width), t.Columns(h, width, h.Cols), a)
}

// denseFFN is down(activation(gate·x, up·x)).
type denseFFN struct {
	gate       *nn.Linear // nil: its rows are the first of up's
	up, down   *nn.Linear
	inputs     []*nn.Linear // of gate and up, those that there are
	activation nn.Activation
}

func (f *denseFFN) readers() []*nn.Linear { return f.inputs }

func (f *denseFFN) forward(t *nn.Tape, x *nn.Var) *nn.Var {
	if f.gate == nil {
		return t.Linear(gatedColumns(t, t.Linear(x, f.up), f.activation), f.down)
	}
	return t.FeedForward(x, f.gate, f.up, f.down, f.activation)
}

// dense binds the dense block of a layer.
func (b *layerBinder) dense() *denseFFN {
	n, width := b.d.Embedding, b.config().FeedForwardWidth
	if !b.arch.FusedGateUp {
		return b.gatedFFN("", width)
	}
	up := b.linear("ffn_up", n, 2*width)
	return &denseFFN{up: up, down: b.linear("ffn_down", width, n), inputs: []*nn.Linear{up}, activation: b.arch.activation}
}

// gatedFFN binds a block of three matrices, whose names end in suffix.
func (b *layerBinder) gatedFFN(suffix string, width int) *denseFFN {
	n := b.d.Embedding
	gate, up := b.linear("ffn_gate"+suffix, n, width), b.linear("ffn_up"+suffix, n, width)
	return &denseFFN{
		gate: gate, up: up, down: b.linear("ffn_down"+suffix, width, n),
		inputs: []*nn.Linear{gate, up}, activation: b.arch.activation,
	}
}
