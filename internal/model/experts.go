package model

import "qtool/internal/nn"

// expertFFN routes every token to some of the experts.
type expertFFN struct {
	router         *nn.Linear
	spec           nn.RouterSpec
	gate, up, down *nn.Linear
}

func (f *expertFFN) forward(t *nn.Tape, x *nn.Var) *nn.Var {
	r := t.Route(t.Linear(x, f.router), f.spec)
	g := t.Gather(x, r)
	h := t.ExpertLinears(g, r.Groups, f.gate, f.up)
	y := t.ExpertLinears(t.SwiGLU(h[0], h[1]), r.Groups, f.down)
	return t.Combine(y[0], x, r)
}

func (b *binder) expertFFN(prefix string, width int) *expertFFN {
	d := b.d
	return &expertFFN{
		router: b.targetLinear(prefix+"ffn_gate_inp", d.Embedding, d.Experts, 1),
		spec:   d.Router,
		gate:   b.targetLinear(prefix+"ffn_gate_exps", d.Embedding, width, d.Experts),
		up:     b.targetLinear(prefix+"ffn_up_exps", d.Embedding, width, d.Experts),
		down:   b.targetLinear(prefix+"ffn_down_exps", width, d.Embedding, d.Experts),
	}
}
