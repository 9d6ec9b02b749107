package quantize

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"qtool/gguf"
	"qtool/internal/arch"
)

// ErrRequantize is in the chain of the error about weights that are quantized already.
var ErrRequantize = errors.New("already quantized")

// ErrNoImportance is in the chain of the error about a type of so few bits that it is
// not used without importance.
var ErrNoImportance = errors.New("importance needed")

// Plan says what every tensor of a model becomes. It is made before a byte of weights
// is read.
type Plan struct {
	FileType string          `json:"file_type"`
	Tensors  []PlannedTensor `json:"tensors"` // in the order of the new file
	Target   *TargetReport   `json:"target,omitempty"`
	// Remarks are about the whole, such as options without effect.
	Remarks []string `json:"remarks,omitempty"`
	// Shards are the files that the plan is written to, if whoever writes it divides it.
	Shards []gguf.ShardFile `json:"shards,omitempty"`

	source      gguf.Model               // with overrides, and without pruned layers
	sourceNames map[string]string        // of tensors that were renamed by pruning
	waiting     map[string]bool          // what a dry run has remarked on
	misplaced   map[string]*misplacement // by tensor, found as the model is read
	id          uint32
	opts        Options
}

// PlannedTensor is the fate of one tensor. Note explains a type that the rules for the
// file type did not ask for, or what stands in the way.
type PlannedTensor struct {
	Name      string
	Shape     []int // in ggml order
	From, To  gguf.Type
	FromBytes int64
	ToBytes   int64
	Note      string
	Estimate  *Estimate // what the type costs, in a plan for a target
}

// NewPlan chooses a type for each tensor of m. It fails with [ErrUnknownType] if the file
// type, or a type in the options, is none, with [ErrUnsupported] if it cannot be written,
// with [ErrRequantize] if m is quantized and that is not allowed, with [ErrNoImportance]
// if a tensor's type needs importance and has none, and with [ErrNoLayer] if layers
// cannot be pruned.
func NewPlan(m gguf.Model, opts Options) (*Plan, error) {
	mix, err := findFileType(opts.FileType)
	if err != nil {
		return nil, err
	}
	if len(opts.Overrides) > 0 {
		md := m.Metadata().Clone()
		applyOverrides(md, opts.Overrides)
		m = gguf.Assemble(md, m.Tensors(), m)
	}
	if kind, err := gguf.Or(m.Metadata().Str("general.type"))("model"); err != nil {
		return nil, err
	} else if kind != "" && kind != "model" {
		return nil, fmt.Errorf("%w: this file is of general.type %q; only models can be quantized", ErrUnsupported, kind)
	}
	p := &Plan{FileType: mix.name, source: m, waiting: map[string]bool{}, id: mix.id, opts: opts}
	// A mix counts the layers of the whole model, as llama-quantize does.
	arch, err := readArchFacts(m)
	if err != nil {
		return nil, fmt.Errorf("choosing tensor types: %w", err)
	}
	if len(opts.PruneLayers) > 0 {
		part, err := prune(m, opts.PruneLayers)
		if err != nil {
			return nil, err
		}
		p.source, p.sourceNames, p.Remarks = part, part.sourceNames, part.remarks
	}
	tensors := slices.Clone(p.source.Tensors())
	if !opts.KeepOrder {
		slices.SortStableFunc(tensors, byLayerAndName)
	}
	if mix.copies() {
		p.id = fileTypeOf(m.Metadata(), tensors, opts.storedAs)
	}
	c, err := newChooser(arch, tensors, mix, opts)
	if err != nil {
		return nil, err
	}
	for _, t := range tensors {
		if err := p.add(t, c); err != nil {
			return nil, fmt.Errorf("tensor %q: %w", t.Name, err)
		}
	}
	p.remark(c)
	return p, nil
}

// add chooses for t and makes sure that it can be converted.
func (p *Plan) add(t *gguf.Tensor, c *chooser) (err error) {
	if !t.Type.Known() && t.Elements() > 0 && !c.mix.copies() {
		return fmt.Errorf("%w: its type %v is not known, so its elements cannot be read; update qtool, or get the model in another type", ErrUnsupported, t.Type)
	}
	stored := *t
	stored.Type = p.opts.storedAs(t)
	pt := PlannedTensor{Name: t.Name, Shape: t.Shape, From: stored.Type, FromBytes: stored.Size()}
	if pt.To, pt.Note, err = c.choose(t); err != nil {
		return err
	}
	if pt.ToBytes, err = p.check(t, pt.To); err != nil && !p.waits(&pt, err) {
		return err
	}
	p.Tensors = append(p.Tensors, pt)
	return nil
}

// waits notes, in a dry run, what t still needs so that it can be converted.
func (p *Plan) waits(t *PlannedTensor, err error) bool {
	need := ""
	switch {
	case errors.Is(err, ErrRequantize):
		need = "needs --allow-requantize"
	case errors.Is(err, ErrNoImportance):
		need = "needs --imatrix"
	}
	if !p.opts.DryRun || need == "" {
		return false
	}
	if !p.waiting[need] {
		p.waiting[need] = true
		p.Remarks = append(p.Remarks, fmt.Sprintf("tensor %q: %v", t.Name, err))
	}
	t.Note = strings.TrimPrefix(t.Note+"; "+need, "; ")
	return true
}

// check makes sure that t can be converted. It returns the size that t will have, also
// with [ErrRequantize] and [ErrNoImportance].
func (p *Plan) check(t *gguf.Tensor, to gguf.Type) (bytes int64, err error) {
	if t.Type.Known() && len(t.Shape) > 0 {
		if _, err := t.Type.RowSize(t.Shape[0]); err != nil {
			return 0, err
		}
	}
	if to == t.Type {
		return t.Size(), nil
	}
	if own, _ := arch.ScaleNames(t.Name); t.Name == arch.Output && to != gguf.NVFP4 {
		if _, scaled := p.source.Tensor(own); scaled {
			return 0, fmt.Errorf("%w %v: it comes with %q, which llama.cpp knows only beside NVFP4; leave it as it is with --tensor-type \"^output=NVFP4\"", ErrUnsupported, to, own)
		}
	}
	if _, err := LookupEncoder(to); err != nil {
		return 0, err
	}
	row, err := to.RowSize(t.Shape[0])
	if err != nil {
		return 0, err
	}
	bytes = row * int64(t.Rows())
	if t.Type.BlockElements() > 1 && !p.opts.AllowRequantize {
		return bytes, fmt.Errorf("%w as %v: making %v of it would lose more than making it of the original weights; "+
			"use the F16, BF16 or F32 model, or allow it with --allow-requantize", ErrRequantize, t.Type, to)
	}
	importance, err := p.importance(t)
	if err == nil && importance == nil && to != p.opts.storedAs(t) && p.needsImportance(t.Name, to) {
		err = p.missingImportance(t.Name, to)
	}
	return bytes, err
}

// Give makes a tensor of the plan another type than the options do. It fails as [NewPlan]
// does if the tensor cannot be converted to it.
func (p *Plan) Give(name string, to gguf.Type) error {
	pt := p.planned(name)
	if pt == nil {
		return fmt.Errorf("the plan has no tensor %q", name)
	}
	src, _ := p.source.Tensor(name)
	bytes, err := p.check(src, to)
	if err != nil {
		return fmt.Errorf("tensor %q: %w", name, err)
	}
	pt.To, pt.ToBytes, pt.Note, pt.Estimate = to, bytes, "", nil
	return nil
}

// SetMetadata replaces what the options say is to be set as it is.
func (p *Plan) SetMetadata(kvs []gguf.KV) { p.opts.Metadata = kvs }

// SourceName is what a tensor of the plan is called in the source.
func (p *Plan) SourceName(name string) string {
	if source, ok := p.sourceNames[name]; ok {
		return source
	}
	return name
}

// Model is the model that the plan makes. Its weights are converted as they are read,
// so it lives as long as the source does. Reading them fails with [ErrInvalidWeights]
// if they are not finite, or if the new type cannot hold them.
func (p *Plan) Model() gguf.Model {
	tensors := make([]*gguf.Tensor, len(p.Tensors))
	p.misplaced = map[string]*misplacement{}
	for i := range p.Tensors {
		tensors[i] = p.tensor(&p.Tensors[i])
	}
	return gguf.Assemble(p.metadata(), tensors, append(p.opts.Inputs, p.source)...)
}

func (p *Plan) tensor(pt *PlannedTensor) *gguf.Tensor {
	src, _ := p.source.Tensor(pt.Name)
	return &gguf.Tensor{Name: pt.Name, Type: pt.To, Shape: pt.Shape, RawSize: src.RawSize, Data: p.converted(src, pt.To)}
}

// Tensor is one tensor of [Plan.Model] as the plan is now.
func (p *Plan) Tensor(name string) (*gguf.Tensor, bool) {
	if pt := p.planned(name); pt != nil {
		return p.tensor(pt), true
	}
	return nil, false
}

func (p *Plan) planned(name string) *PlannedTensor {
	i := slices.IndexFunc(p.Tensors, func(pt PlannedTensor) bool { return pt.Name == name })
	if i < 0 {
		return nil
	}
	return &p.Tensors[i]
}

// droppedKeys hold of the source file, not of the new one.
var droppedKeys = []string{"split.no", "split.count", "split.tensors.count", "general.alignment"}

// metadata copies the source's and sets the file type, what the options set and the
// number of layers at the end, where llama-quantize puts them.
func (p *Plan) metadata() *gguf.Metadata {
	source := p.source.Metadata()
	md := source.Clone()
	for _, key := range droppedKeys {
		md.Delete(key)
	}
	set := func(key string, v gguf.Value) {
		md.Delete(key)
		md.Set(key, v)
	}
	set("general.quantization_version", uint32(2))
	set("general.file_type", p.id)
	for _, o := range p.opts.Overrides {
		v, _ := source.Get(o.key)
		set(o.key, v)
	}
	for _, kv := range p.opts.Metadata {
		set(kv.Key, kv.Value)
	}
	if len(p.opts.PruneLayers) > 0 {
		name, _ := arch.Name(p.source)
		v, _ := source.Get(name + "." + arch.KeyBlockCount)
		set(name+"."+arch.KeyBlockCount, v)
	}
	return md
}
