package quantize

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"qtool/gguf"
)

// archFacts is what the rules ask of the metadata; 0 where it says nothing.
type archFacts struct {
	name                                 string
	layers, experts, heads, headsKV, gqa int
}

func readArchFacts(md *gguf.Metadata) (*archFacts, error) {
	name, err := gguf.Or(md.Str("general.architecture"))("")
	if err != nil {
		return nil, err
	}
	f := &archFacts{name: name}
	for _, field := range []struct {
		key  string
		into *int
	}{
		{"block_count", &f.layers},
		{"expert_count", &f.experts},
		{"attention.head_count", &f.heads},
		{"attention.head_count_kv", &f.headsKV},
	} {
		n, err := firstInt(md, name+"."+field.key)
		if err != nil && !errors.Is(err, gguf.ErrMissing) {
			return nil, err
		}
		*field.into = n
	}
	if !md.Has(name + ".attention.head_count_kv") {
		f.headsKV = f.heads
	}
	if f.headsKV > 0 {
		f.gqa = f.heads / f.headsKV
	}
	return f, nil
}

// firstInt reads an integer, or the first of one for each layer.
func firstInt(md *gguf.Metadata, key string) (int, error) {
	if all, err := md.Ints(key); err == nil && len(all) > 0 {
		return all[0], nil
	}
	return md.Int(key)
}

// chooser chooses the types of a model's tensors, which it must see in the order of
// byLayerAndName: some rules go by the position among tensors of the same role.
type chooser struct {
	mix               fileType
	outputType        *gguf.Type
	embeddingType     *gguf.Type
	pure, leaveOutput bool
	imatrix           bool
	arch              *archFacts
	tied              bool // the embedding serves as head
	values            int  // tensors of role value
	seen              map[role]int
}

func newChooser(m gguf.Model, mix fileType, opts Options) (*chooser, error) {
	arch, err := readArchFacts(m.Metadata())
	if err != nil {
		return nil, fmt.Errorf("choosing tensor types: %w", err)
	}
	c := &chooser{
		mix: mix, pure: opts.Pure, leaveOutput: opts.LeaveOutput, imatrix: opts.Importance != nil,
		arch: arch, tied: true, seen: map[role]int{},
	}
	if c.outputType, err = parseOverride("output", opts.OutputType); err != nil {
		return nil, err
	}
	if c.embeddingType, err = parseOverride("token embedding", opts.EmbeddingType); err != nil {
		return nil, err
	}
	for _, t := range m.Tensors() {
		switch roleOf(t.Name) {
		case head:
			c.tied = false
		case value:
			c.values++
		}
	}
	return c, nil
}

func parseOverride(of, name string) (*gguf.Type, error) {
	if name == "" {
		return nil, nil
	}
	t, err := gguf.ParseType(name)
	if err != nil {
		return nil, fmt.Errorf("type of the %s: %w: %w; choose one of %s", of, ErrUnknownType, err, typeNames((*Codec).CanEncode))
	}
	if _, err := LookupEncoder(t); err != nil {
		return nil, fmt.Errorf("type of the %s: %w", of, err)
	}
	return &t, nil
}

// choose returns the type for t and, where that needs explaining, a note.
func (c *chooser) choose(t *gguf.Tensor) (to gguf.Type, note string) {
	switch {
	case !quantizable(t):
		return t.Type, ""
	case c.leaveOutput && t.Name == "output.weight":
		return t.Type, "left as it is on request"
	}
	want := c.wanted(t)
	to = fitting(want, t.Shape[0])
	if to != want {
		note = fmt.Sprintf("rows of %d do not divide into %v blocks of %d: %v instead",
			t.Shape[0], want, want.BlockElements(), to)
	}
	return to, note
}

// wanted is the type before the length of the rows is looked at.
func (c *chooser) wanted(t *gguf.Tensor) gguf.Type {
	r := roleOf(t.Name)
	switch {
	case r == embedding && c.embeddingType != nil:
		return *c.embeddingType
	case r == head && c.outputType != nil:
		return *c.outputType
	case c.pure || c.mix.base.BlockElements() == 1:
		return c.mix.base
	}
	if r == embedding && c.tied {
		r = head
	}
	if r == head && c.outputType != nil {
		return *c.outputType
	}
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
		s.index = layerOf(t.Name) // a layer may have several of each
	}
	return mixedType(s)
}

// byLayerAndName orders tensors as llama-quantize visits and writes them: those
// outside the blocks first, then block by block, by name.
func byLayerAndName(a, b *gguf.Tensor) int {
	return cmp.Or(cmp.Compare(layerOf(a.Name), layerOf(b.Name)), strings.Compare(a.Name, b.Name))
}

// layerOf is the number in blk.NUMBER., or -1.
func layerOf(name string) int {
	rest, ok := strings.CutPrefix(name, "blk.")
	number, _, dot := strings.Cut(rest, ".")
	if n, err := strconv.Atoi(number); ok && dot && err == nil {
		return n
	}
	return -1
}
