package adapt

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"qtool/gguf"
	"qtool/internal/arch"
	"qtool/internal/model"
	"qtool/internal/nn"
)

// Adapter is a set of LoRA pairs for one base model.
type Adapter struct {
	Architecture string
	// Alpha sets every pair's scale, Alpha/rank; 0 means a scale of 1.
	Alpha float32
	Pairs []*Pair
	// MergeOnly marks an adapter with pairs that llama.cpp does not honour: it
	// takes effect once it is merged into its base.
	MergeOnly bool
	// Extra are further metadata keys of the file, kept when it is written.
	Extra *gguf.Metadata

	base gguf.Source // of the decoder that it was made for or attached to last; nil if there is none
}

// Pair is the two halves bound to one base tensor, in GGUF orientation: A is
// [in, rank] and B [rank, out], for experts [in, rank, experts] and [rank, out, experts],
// for the embedding A is [rank, vocabulary] and B [rank, embedding].
type Pair struct {
	Tensor string // the base tensor, such as "blk.0.attn_q.weight"
	nn.LoRAPair
	stack int // experts of the base, where Experts are only some of them
}

// Scale is the factor of a pair of the given rank.
func (a *Adapter) Scale(rank int) float32 {
	if a.Alpha == 0 {
		return 1
	}
	return a.Alpha / float32(rank)
}

// Params lists both halves of every pair, in order.
func (a *Adapter) Params() []*nn.Param {
	var out []*nn.Param
	for _, p := range a.Pairs {
		out = append(out, p.A, p.B)
	}
	return out
}

// Config says what adapter to make.
type Config struct {
	Rank    int
	Alpha   float32
	Targets []string // see [Select]
	// MergeOnly permits targets that llama.cpp does not honour.
	MergeOnly bool
	// Experts are those that get pairs, by layer; nil means all. See [Experts.ByLayer].
	Experts map[int][]int32
	Seed    uint64
	// Shapes makes pairs of [nn.Blanks], for rehearsals alone.
	Shapes bool
}

// Check finds out whether [New] can make the adapter, all but its experts.
func (c *Config) Check(d *model.Decoder) error {
	_, err := c.targets(d)
	return err
}

// targets are the chosen targets of d.
func (c *Config) targets(d *model.Decoder) ([]model.Target, error) {
	if c.Rank < 1 {
		return nil, fmt.Errorf("an adapter of rank %d: the rank must be at least 1", c.Rank)
	}
	if c.Rank > d.Embedding {
		return nil, fmt.Errorf("an adapter of rank %d on a model %d wide: a rank beyond the width adds nothing", c.Rank, d.Embedding)
	}
	if !(c.Alpha > 0) || math.IsInf(float64(c.Alpha), 0) {
		return nil, fmt.Errorf("an adapter with alpha %g: alpha must be a positive number", c.Alpha)
	}
	return Select(d, c.Targets, c.MergeOnly)
}

// New makes a fresh adapter for the chosen targets of d. It does not change the
// model's output yet: A is uniform in ±1/sqrt(in), B is zero; for the embedding,
// where A is looked up, it is the other way round.
func New(d *model.Decoder, c Config) (*Adapter, error) {
	chosen, err := c.targets(d)
	if err != nil {
		return nil, err
	}
	rng := rand.New(rand.NewPCG(c.Seed, 0x6c6f7261))
	a := &Adapter{Architecture: d.Architecture, Alpha: c.Alpha, Extra: &gguf.Metadata{}, base: d.Source()}
	for _, t := range chosen {
		a.MergeOnly = a.MergeOnly || t.Refused != ""
	}
	if c.Shapes {
		a.Pairs = blankPairs(chosen, &c)
		return a, nil
	}
	for _, t := range chosen {
		p := newPair(t, c.Rank)
		if experts := c.expertsOf(t); experts != nil {
			p.restrict(experts)
		}
		random, in := p.A, t.Linear.Cols
		if t.Transposed {
			random = p.B
		}
		bound := 1 / math.Sqrt(float64(in))
		for i := range random.Data {
			random.Data[i] = float32((2*rng.Float64() - 1) * bound)
		}
		a.Pairs = append(a.Pairs, p)
	}
	return a, nil
}

// expertsOf are those of a target that get pairs; nil means all.
func (c *Config) expertsOf(t model.Target) []int32 {
	if t.Linear.Experts == 1 {
		return nil
	}
	return c.Experts[arch.LayerOf(t.Tensor)]
}

// newPair makes a zero pair of the right shape for a target.
func newPair(t model.Target, rank int) *Pair {
	a, b := pairShapes(t, rank)
	return &Pair{Tensor: t.Tensor, LoRAPair: nn.LoRAPair{
		A: nn.NewParam(t.Tensor+suffixA, a...), B: nn.NewParam(t.Tensor+suffixB, b...), Rank: rank,
	}}
}

// blankPairs are pairs of the right shapes whose halves are blanks.
func blankPairs(targets []model.Target, c *Config) (pairs []*Pair) {
	var blanks nn.Blanks
	for _, t := range targets {
		a, b, stack := c.shapes(t)
		p := &Pair{Tensor: t.Tensor, LoRAPair: nn.LoRAPair{Rank: c.Rank}, stack: stack}
		if stack > 0 {
			p.Experts = c.expertsOf(t)
		}
		role := arch.ShortName(t.Tensor)
		p.A = blanks.Param(t.Tensor+suffixA, role+suffixA, a...)
		p.B = blanks.Param(t.Tensor+suffixB, role+suffixB, b...)
		pairs = append(pairs, p)
	}
	return pairs
}

// shapes are those of the pair on t. Where only some experts get one, stack is how many
// there are.
func (c *Config) shapes(t model.Target) (a, b []int, stack int) {
	a, b = pairShapes(t, c.Rank)
	if experts := c.expertsOf(t); len(experts) > 0 && len(experts) < a[2] {
		stack = a[2]
		a[2], b[2] = len(experts), len(experts)
	}
	return a, b, stack
}

// Parameters is how many parameters the adapter has that [New] would make.
func (c *Config) Parameters(d *model.Decoder) (n int64, err error) {
	chosen, err := c.targets(d)
	for _, t := range chosen {
		a, b, _ := c.shapes(t)
		for _, shape := range [][]int{a, b} {
			size := int64(1)
			for _, extent := range shape {
				size *= int64(extent)
			}
			n += size
		}
	}
	return n, err
}

// pairShapes are the shapes of both halves of a pair on a target.
func pairShapes(t model.Target, rank int) (a, b []int) {
	in, out, experts := t.Shape()
	a, b = []int{in, rank}, []int{rank, out}
	if t.Transposed {
		a = []int{rank, in}
	}
	if experts > 1 {
		a, b = append(a, experts), append(b, experts)
	}
	return a, b
}

// Attach binds the pairs to d's weights, so that every pass computes with them.
// It refuses, with [ErrMismatch], an adapter of another architecture or with a
// pair that does not fit or, unless it is for merging only, that llama.cpp would
// not honour; d is then unchanged.
func (a *Adapter) Attach(d *model.Decoder) error {
	targets := targetsByName(d)
	if err := a.fit(d, targets, first); err != nil {
		return err
	}
	a.base = d.Source()
	Detach(d)
	a.bind(targets)
	return nil
}

// bind gives the targets their pairs, which fit.
func (a *Adapter) bind(targets map[string]model.Target) {
	for _, p := range a.Pairs {
		p.LoRAPair.Scale = a.Scale(p.Rank)
		targets[p.Tensor].Linear.Pair = &p.LoRAPair
	}
}

// Misfits are all reasons why [Adapter.Attach] refuses d.
func (a *Adapter) Misfits(d *model.Decoder) (faults []*Fault) {
	a.fit(d, targetsByName(d), collect(&faults))
	return faults
}

func targetsByName(d *model.Decoder) map[string]model.Target {
	targets := map[string]model.Target{}
	for _, t := range d.Targets() {
		targets[t.Tensor] = t
	}
	return targets
}

// fit finds what keeps pairs from being bound to d.
func (a *Adapter) fit(d *model.Decoder, targets map[string]model.Target, found judge) error {
	if a.Architecture != d.Architecture {
		f := &Fault{Code: OtherArch, Key: arch.KeyArchitecture, Text: fmt.Sprintf("it was made for architecture %q, the base is %q", a.Architecture, d.Architecture), kind: ErrMismatch}
		if err := found(f); err != nil {
			return err
		}
	}
	for _, p := range a.Pairs {
		t, ok := targets[p.Tensor]
		if code, reason := whyNot(d, t, p.Tensor, ok, a.MergeOnly); reason != "" {
			f := &Fault{Code: code, Tensor: p.Tensor, Text: fmt.Sprintf("it has a pair for %q: %s", p.Tensor, reason), kind: ErrMismatch}
			if err := found(f); err != nil {
				return err
			}
		}
		if ok {
			if err := p.fit(t, found); err != nil {
				return err
			}
		}
	}
	return nil
}

// fit compares the shapes of p with those that a target asks for.
func (p *Pair) fit(t model.Target, found judge) error {
	a, b := p.shapes(t)
	for _, half := range []struct {
		*nn.Param
		want []int
	}{{p.A, a}, {p.B, b}} {
		if gguf.SameShape(half.Shape, half.want) {
			continue
		}
		code := WrongShape
		if slices.Equal(half.Shape[:2], half.want[:2]) {
			code = WrongExperts
		}
		f := &Fault{Code: code, Tensor: half.Name, Text: fmt.Sprintf("tensor %q has shape %v, the base asks for %v", half.Name, half.Shape, half.want), kind: ErrMismatch}
		if err := found(f); err != nil {
			return err
		}
	}
	return nil
}

// whyNot is why a pair cannot be bound to tensor, which is target t if found; ""
// if it can.
func whyNot(d *model.Decoder, t model.Target, tensor string, found, mergeOnly bool) (Code, string) {
	switch reason := d.NoTarget(arch.ShortName(tensor)); {
	case !found && reason != "":
		return NeverTarget, reason
	case !found:
		return NoSuchTensor, "the base has no such weight for pairs"
	case t.Refused != "" && !mergeOnly:
		return NotHonoured, t.Refused
	}
	return "", ""
}

// Detach removes all pairs from d.
func Detach(d *model.Decoder) {
	for _, t := range d.Targets() {
		t.Linear.Pair = nil
	}
}
