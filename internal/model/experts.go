package model

import (
	"qtool/internal/arch"
	"qtool/internal/nn"
)

// expertFFN routes every token to some of the experts. All tokens go to the
// shared expert too, if there is one.
type expertFFN struct {
	router     *nn.Linear
	spec       nn.RouterSpec
	gate       *nn.Linear // nil: its rows are the first of up's
	up, down   *nn.Linear
	activation nn.Activation
	shared     *denseFFN  // nil if there is none
	sharedGate *nn.Linear // nil: the shared expert counts in full
	decoder    *Decoder
	layer      int
}

func (f *expertFFN) forward(t *nn.Tape, x *nn.Var) *nn.Var {
	r := t.Route(t.Linear(x, f.router), f.spec) // of logits [tokens, experts]
	f.decoder.choose(t.Pool.Rehearsing(), f.layer, r.Groups)
	var y *nn.Var // [grouped rows, embedding]
	if f.gate == nil {
		g := t.GatherFor([]*nn.Linear{f.up}, x, r)
		h := gatedColumns(t, t.ExpertLinears(g, r.Groups, f.up)[0], f.activation) // [grouped rows, width]
		y = t.ExpertLinears(h, r.Groups, f.down)[0]
	} else {
		g := t.GatherFor([]*nn.Linear{f.gate, f.up}, x, r)
		y = t.ExpertFeedForward(g, r.Groups, f.gate, f.up, f.down, f.activation)
	}
	y = t.Combine(y, x, r) // [tokens, embedding]
	if f.shared == nil {
		return y
	}
	s := f.shared.forward(t, x) // [tokens, embedding]
	if f.sharedGate != nil {
		s = t.SigmoidGate(s, t.Linear(x, f.sharedGate))
	}
	return t.Add(y, s)
}

// The router is no reader: what it makes decides more than a product.
func (f *expertFFN) readers() []*nn.Linear { return nil }

// expertFFN binds the experts of a layer.
func (b *layerBinder) expertFFN() *expertFFN {
	d := b.d
	n, width := d.Embedding, d.ExpertWidth
	if width == 0 {
		width = b.config().FeedForwardWidth
	}
	f := &expertFFN{
		router:     b.linear("ffn_gate_inp", n, d.Experts+d.Router.Identity),
		spec:       b.router(),
		activation: b.arch.activation,
		decoder:    d,
		layer:      b.number,
	}
	count := b.storedExperts("ffn_down_exps.weight")
	if b.has("ffn_gate_up_exps.weight") {
		f.up = b.experts("ffn_gate_up_exps", n, 2*width, count)
	} else {
		f.gate = b.experts("ffn_gate_exps", n, width, count)
		f.up = b.experts("ffn_up_exps", n, width, count)
	}
	f.down = b.experts("ffn_down_exps", width, n, count)
	if d.SharedWidth > 0 {
		f.shared = b.gatedFFN("_shexp", d.SharedWidth)
	}
	if b.arch.SharedGate {
		f.sharedGate = b.linear("ffn_gate_inp_shexp", n, 1)
	}
	return f
}

// router is the router of a layer, whose choices the decoder's loads count.
func (b *layerBinder) router() nn.RouterSpec {
	s := b.d.Router
	if bias := "exp_probs_b.bias"; b.arch.ChoiceBias && b.has(bias) {
		s.Bias = b.frozenVector(arch.InLayer(b.number, bias), b.d.Experts+s.Identity)
	}
	s.Load = &nn.Load{}
	b.d.routers = append(b.d.routers, Router{Layer: b.number, Load: s.Load})
	return s
}

// storedExperts is how many experts the file holds. Where there are identity
// experts it may have one more, of zeros, which stands for all of them in llama.cpp.
func (b *layerBinder) storedExperts(name string) int {
	t, ok := b.src.Tensor(arch.InLayer(b.number, name))
	if ok && b.d.Router.Identity > 0 && len(t.Shape) == 3 && t.Shape[2] == b.d.Experts+1 {
		return b.d.Experts + 1
	}
	return b.d.Experts
}

// Router is where a layer chooses its experts.
type Router struct {
	Layer int
	Load  *nn.Load // of every pass that is recorded
}

// Routers lists the routers by layer.
func (d *Decoder) Routers() []Router { return d.routers }

// routing sets how tokens choose experts: as s says, and within groups if the file
// says so.
func (k *keys) routing(c *Config, s nn.RouterSpec) {
	s.Used = c.ExpertsUsed
	s.Groups, s.GroupsUsed = k.int(arch.KeyExpertGroupCount, 0), k.int(arch.KeyExpertGroupUsedCount, 0)
	c.Router = s
	if s.Groups <= 1 {
		return
	}
	if s.Identity > 0 {
		refuseAs(ErrUnsupported, "groups of experts (%s.%s) with identity experts", k.arch, arch.KeyExpertGroupCount)
	}
	if c.Experts%s.Groups != 0 || s.GroupsUsed < 1 || s.GroupsUsed >= s.Groups || s.Used > c.Experts/s.Groups*s.GroupsUsed {
		refuseAs(ErrInvalid, "%d of %d experts are chosen within %d of %d groups", s.Used, c.Experts, s.GroupsUsed, s.Groups)
	}
}

// storedRouting is routing where the file says all of it; def is the kind of
// gating where it does not.
func (k *keys) storedRouting(c *Config, identity int, def nn.Gating) {
	const name = arch.KeyExpertGatingFunc
	s := nn.RouterSpec{
		Gating: def, Identity: identity,
		Normalize: k.bool(arch.KeyExpertWeightsNorm, false), Scale: float32(k.float(arch.KeyExpertWeightsScale, 0)),
	}
	switch kind := k.int(name, 0); kind {
	case 0:
	case arch.GatingSoftmax:
		s.Gating = nn.GateSoftmax
	case arch.GatingSigmoid:
		s.Gating = nn.GateSigmoid
	case arch.GatingChosen:
		s.Gating = nn.GateChosen
	default:
		refuseAs(ErrUnsupported, "%s.%s is %d; known are 1 (softmax), 2 (sigmoid) and 3 (softmax over the chosen)", k.arch, name, kind)
	}
	k.routing(c, s)
}

// sharedExperts reads of what width the experts are, and how many of them all
// tokens share.
func (k *keys) sharedExperts(c *Config) {
	c.LeadingDense = k.int(arch.KeyLeadingDenseBlockCount, 0)
	if c.Experts > 0 {
		c.ExpertWidth = k.needInt(arch.KeyExpertFeedForwardLength)
	}
	c.SharedWidth = c.ExpertWidth * k.int(arch.KeyExpertSharedCount, 0)
}
