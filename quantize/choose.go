package quantize

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"qtool/gguf"
	"qtool/internal/arch"
)

// archFacts is what the rules ask of the metadata; 0 where it says nothing.
type archFacts struct {
	name                                 string
	layers, experts, heads, headsKV, gqa int
}

func readArchFacts(m gguf.Model) (*archFacts, error) {
	name, err := gguf.Or(arch.Name(m))("")
	if err != nil {
		return nil, err
	}
	f, counts := &archFacts{name: name}, arch.CountsOf(m, name)
	for _, field := range []struct {
		key  string
		into *int
	}{
		{arch.KeyBlockCount, &f.layers},
		{arch.KeyExpertCount, &f.experts},
		{arch.KeyAttentionHeadCount, &f.heads},
		{arch.KeyAttentionHeadCountKV, &f.headsKV},
	} {
		switch n, err := counts.PerLayer(field.key, 0, 0); {
		case err == nil:
			*field.into = n[0]
		case !errors.Is(err, gguf.ErrMissing):
			return nil, err
		}
	}
	if !m.Metadata().Has(name + "." + arch.KeyAttentionHeadCountKV) {
		f.headsKV = f.heads
	}
	if f.headsKV > 0 {
		f.gqa = f.heads / f.headsKV
	}
	return f, nil
}

// chooser chooses the types of a model's tensors. Some rules go by the position among
// tensors of the same role, in the order in which it sees them.
type chooser struct {
	mix               fileType
	outputType        *gguf.Type
	embeddingType     *gguf.Type
	rules             []typeRule
	free              func(*gguf.Tensor) gguf.Type // decides instead of the mix, unless nil
	storedAs          func(*gguf.Tensor) gguf.Type
	pure, leaveOutput bool
	imatrix           bool
	arch              *archFacts
	tied              bool // the embedding serves as head
	values            int  // tensors of role value
	seen              map[role]int
}

func newChooser(facts *archFacts, tensors []*gguf.Tensor, mix fileType, opts Options) (*chooser, error) {
	c := &chooser{
		mix: mix, free: opts.free, storedAs: opts.storedAs, pure: opts.Pure, leaveOutput: opts.LeaveOutput, imatrix: opts.Importance != nil,
		arch: facts, tied: true, seen: map[role]int{},
	}
	var err error
	if c.outputType, err = parseOptional("output", opts.OutputType); err != nil {
		return nil, err
	}
	if c.embeddingType, err = parseOptional("token embedding", opts.EmbeddingType); err != nil {
		return nil, err
	}
	for _, p := range opts.TensorTypes {
		c.rules = append(c.rules, typeRule{TypePattern: p})
	}
	for _, t := range tensors {
		switch roleOf(t.Name) {
		case head:
			c.tied = false
		case value:
			c.values++
		}
	}
	return c, nil
}

func parseOptional(of, name string) (*gguf.Type, error) {
	if name == "" {
		return nil, nil
	}
	t, err := parseEncodable(name)
	if err != nil {
		return nil, fmt.Errorf("type of the %s: %w", of, err)
	}
	return &t, nil
}

// choose returns the type for t and, where that needs explaining, a note.
func (c *chooser) choose(t *gguf.Tensor) (to gguf.Type, note string, err error) {
	rule, err := c.ruleFor(t.Name)
	switch {
	case err != nil:
		return 0, "", err
	case !quantizable(t):
		if rule != nil {
			rule.excepted = t.Name
		}
		return c.storedAs(t), "", nil
	case c.leaveOutput && t.Name == arch.Output:
		if rule != nil {
			rule.beaten = t.Name
		}
		return c.storedAs(t), "left as it is on request", nil
	}
	want := c.wanted(t, rule)
	if c.mix.copies() && want == c.storedAs(t) {
		return want, "", nil // whatever its rows
	}
	to = fitting(want, t.Shape[0])
	if to != want {
		note = fmt.Sprintf("rows of %d do not divide into %v blocks of %d: %v instead",
			t.Shape[0], want, want.BlockElements(), to)
	}
	return to, note, nil
}

// ruleFor is the first rule whose pattern finds a name; nil if none does.
func (c *chooser) ruleFor(name string) (first *typeRule, err error) {
	for i := range c.rules {
		r := &c.rules[i]
		if r.match == nil {
			continue
		}
		switch found, err := r.match(name); {
		case err != nil:
			return nil, fmt.Errorf("tensor type %s: matching the pattern: %w", r.text, err)
		case !found:
		case first == nil:
			first = r
		default:
			r.beaten = name
		}
	}
	return first, nil
}

// wanted is the type before the length of the rows is looked at. rule may be nil.
func (c *chooser) wanted(t *gguf.Tensor, rule *typeRule) gguf.Type {
	r := roleOf(t.Name)
	if to := c.outputOrEmbedding(r); to != nil {
		if rule != nil {
			rule.beaten = t.Name
		}
		return *to
	}
	if rule != nil {
		rule.decided++
		return rule.typ
	}
	if r == embedding && c.tied {
		r = head
	}
	switch {
	case r == head && c.outputType != nil:
		return *c.outputType
	case c.free != nil:
		return c.free(t)
	case c.mix.copies():
		return c.storedAs(t)
	case c.pure || c.mix.base.BlockElements() == 1:
		return c.mix.base
	}
	return c.mixed(t, r)
}

// outputOrEmbedding is the type that an option gives the tensor of that very role.
func (c *chooser) outputOrEmbedding(r role) *gguf.Type {
	switch r {
	case embedding:
		return c.embeddingType
	case head:
		return c.outputType
	}
	return nil
}

// mixed is the type that the mix gives t in role r.
func (c *chooser) mixed(t *gguf.Tensor, r role) gguf.Type {
	s := &site{
		mix: c.mix, role: r, index: c.seen[r], before: c.seen[r], count: c.arch.layers,
		columns: t.Shape[0], stacked: len(t.Shape) > 2 && t.Shape[2] > 1,
		imatrix: c.imatrix, arch: c.arch,
	}
	c.seen[r]++
	switch {
	case r == value:
		s.count = c.values
	case c.arch.experts > 1 && (r == gate || r == up || r == down):
		s.index = arch.LayerOf(t.Name) // a layer may have several of each
	}
	return mixedType(s)
}

// byLayerAndName orders tensors as llama-quantize visits and writes them: those
// outside the blocks first, then block by block, by name.
func byLayerAndName(a, b *gguf.Tensor) int {
	return cmp.Or(cmp.Compare(arch.LayerOf(a.Name), arch.LayerOf(b.Name)), strings.Compare(a.Name, b.Name))
}
