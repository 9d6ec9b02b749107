package quantize

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"text/tabwriter"

	"qtool/gguf"
)

// ErrRequantize is in the chain of the error about weights that are quantized already.
var ErrRequantize = errors.New("already quantized")

// ErrNoImportance is in the chain of the error about a type of so few bits that it is
// not used without importance.
var ErrNoImportance = errors.New("importance needed")

// Options say what to make of a model. Types are named as llama-quantize does, in any
// case.
type Options struct {
	FileType string // one of [FileTypes]
	// Pure gives every weight the base type of FileType, without its mix.
	Pure bool
	// OutputType and EmbeddingType replace the choice for the output head and for the
	// token embedding; "" keeps it. A tied embedding that serves as head follows both,
	// EmbeddingType first.
	OutputType, EmbeddingType string
	// LeaveOutput keeps output.weight as it is.
	LeaveOutput bool
	// AllowRequantize permits a quantized source, which loses more than a float one.
	AllowRequantize bool
	// Metadata is set as it is, after everything else.
	Metadata []gguf.KV
	// Importance has, by tensor name, a weight for each column, or Shape[0] × Shape[2]
	// of them for a stack of matrices. Tensors that it leaves out have none.
	Importance map[string][]float32
	// Threads is the number of workers; 0 takes one for each CPU. The result does not
	// depend on it.
	Threads int
}

// Plan says what every tensor of a model becomes. It is made before a byte of weights
// is read.
type Plan struct {
	FileType string          `json:"file_type"`
	Tensors  []PlannedTensor `json:"tensors"` // in the order of the new file

	source gguf.Model
	id     uint32
	opts   Options
}

// PlannedTensor is the fate of one tensor. Note explains a type that the rules for the
// file type did not ask for.
type PlannedTensor struct {
	Name      string
	Shape     []int // in ggml order
	From, To  gguf.Type
	FromBytes int64
	ToBytes   int64
	Note      string
}

// NewPlan chooses a type for each tensor of m. It fails with [ErrUnknownType] if the
// file type, or a type in the options, is none, with [ErrUnsupported] if it cannot be written, with
// [ErrRequantize] if m is quantized and that is not allowed, and with
// [ErrNoImportance] if a tensor's type needs importance and has none.
func NewPlan(m gguf.Model, opts Options) (*Plan, error) {
	mix, err := findFileType(opts.FileType)
	if err != nil {
		return nil, err
	}
	c, err := newChooser(m, mix, opts)
	if err != nil {
		return nil, err
	}
	tensors := slices.Clone(m.Tensors())
	slices.SortStableFunc(tensors, byLayerAndName)
	p := &Plan{FileType: mix.name, source: m, id: mix.id, opts: opts}
	if kind, _ := m.Metadata().Str("general.type"); kind != "" && kind != "model" {
		return nil, fmt.Errorf("%w: this file is of general.type %q; only models can be quantized", ErrUnsupported, kind)
	}
	for _, t := range tensors {
		if !t.Type.Known() {
			return nil, fmt.Errorf("tensor %s: %w: its type %v is not known, so its elements cannot be read; update qtool, or get the model in another type", t.Name, ErrUnsupported, t.Type)
		}
		pt := PlannedTensor{Name: t.Name, Shape: t.Shape, From: t.Type, FromBytes: t.Size()}
		pt.To, pt.Note = c.choose(t)
		if pt.ToBytes, err = p.check(t, pt.To); err != nil {
			return nil, fmt.Errorf("tensor %s: %w", t.Name, err)
		}
		p.Tensors = append(p.Tensors, pt)
	}
	return p, nil
}

// check makes sure that t can be converted and returns the size it will have.
func (p *Plan) check(t *gguf.Tensor, to gguf.Type) (bytes int64, err error) {
	if t.Type.Known() && len(t.Shape) > 0 {
		if _, err := t.Type.RowSize(t.Shape[0]); err != nil {
			return 0, err
		}
	}
	if to == t.Type {
		return t.Size(), nil
	}
	if t.Type.BlockElements() > 1 && !p.opts.AllowRequantize {
		return 0, fmt.Errorf("%w as %v: making %v of it would lose more than making it of the original weights; "+
			"use the F16, BF16 or F32 model, or allow it with --allow-requantize", ErrRequantize, t.Type, to)
	}
	if _, err := LookupEncoder(to); err != nil {
		return 0, err
	}
	importance := p.importance(t)
	if importance == nil && p.needsImportance(t.Name, to) {
		return 0, fmt.Errorf("%w to make it %v, which is not given: name a file that has it with --imatrix (qtool imatrix makes one), or choose a type of more bits",
			ErrNoImportance, to)
	}
	if err := checkImportance(t, importance); err != nil {
		return 0, err
	}
	row, err := to.RowSize(t.Shape[0])
	return row * int64(t.Rows()), err
}

// needsImportance follows llama-quantize, which makes some types without importance for
// the embedding and the output head alone.
func (p *Plan) needsImportance(name string, to gguf.Type) bool {
	switch to {
	case gguf.IQ1_S, gguf.IQ2_XXS, gguf.IQ2_XS:
		return true
	case gguf.IQ1_M, gguf.IQ2_S, gguf.IQ3_XXS:
	case gguf.Q2_K:
		if p.FileType != "Q2_K_S" {
			return false
		}
	default:
		return false
	}
	r := roleOf(name)
	return r != head && r != embedding
}

// importance is what is given for t. An embedding for which it has another length goes
// without, as in llama-quantize: what a head that shares its name saw is no use to it.
func (p *Plan) importance(t *gguf.Tensor) []float32 {
	w := p.opts.Importance[t.Name]
	if roleOf(t.Name) == embedding && len(w) != t.Shape[0]*matrices(t) {
		return nil
	}
	return w
}

func checkImportance(t *gguf.Tensor, importance []float32) error {
	if importance == nil {
		return nil
	}
	if want := t.Shape[0] * matrices(t); len(importance) != want {
		return fmt.Errorf("its importance has %d weights, expected %d for shape %v", len(importance), want, t.Shape)
	}
	for i, w := range importance {
		if !(w >= 0 && w <= math.MaxFloat32) {
			return fmt.Errorf("weight %d of its importance is %g, expected a finite number of at least 0", i, w)
		}
	}
	return nil
}

// matrices is the number of matrices that importance tells apart: the experts.
func matrices(t *gguf.Tensor) int {
	if len(t.Shape) > 2 {
		return t.Shape[2]
	}
	return 1
}

// Elements is the number of weights in the model.
func (p *Plan) Elements() (n int64) {
	for _, t := range p.Tensors {
		e := int64(1)
		for _, d := range t.Shape {
			e *= int64(d)
		}
		n += e
	}
	return n
}

// FromBytes is the size of all tensors before.
func (p *Plan) FromBytes() (n int64) {
	for _, t := range p.Tensors {
		n += t.FromBytes
	}
	return n
}

// ToBytes is the size of all tensors after, without padding.
func (p *Plan) ToBytes() (n int64) {
	for _, t := range p.Tensors {
		n += t.ToBytes
	}
	return n
}

// BitsPerWeight is the mean over all tensors after.
func (p *Plan) BitsPerWeight() float64 {
	return 8 * float64(p.ToBytes()) / max(1, float64(p.Elements()))
}

// String is a table with a line for each tensor and one of totals.
func (p *Plan) String() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, t := range p.Tensors {
		to := t.To.String()
		if t.To == t.From {
			to = "="
		}
		shape := strings.ReplaceAll(strings.Trim(fmt.Sprint(t.Shape), "[]"), " ", " x ")
		fmt.Fprintf(w, "%s\t%s\t%v\t%s\t%d\t%s\n", t.Name, shape, t.From, to, t.ToBytes, t.Note)
	}
	w.Flush()
	fmt.Fprintf(&b, "%s: %d tensors, %d bytes -> %d bytes, %.2f bits per weight\n",
		p.FileType, len(p.Tensors), p.FromBytes(), p.ToBytes(), p.BitsPerWeight())
	return b.String()
}

// MarshalJSON adds the totals.
func (p *Plan) MarshalJSON() ([]byte, error) {
	type fields Plan
	return json.Marshal(struct {
		*fields
		Elements      int64   `json:"elements"`
		FromBytes     int64   `json:"from_bytes"`
		ToBytes       int64   `json:"to_bytes"`
		BitsPerWeight float64 `json:"bits_per_weight"`
	}{(*fields)(p), p.Elements(), p.FromBytes(), p.ToBytes(), p.BitsPerWeight()})
}

// MarshalJSON names the types.
func (t PlannedTensor) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Name      string `json:"name"`
		Shape     []int  `json:"shape"`
		From      string `json:"from"`
		To        string `json:"to"`
		FromBytes int64  `json:"from_bytes"`
		ToBytes   int64  `json:"to_bytes"`
		Note      string `json:"note,omitempty"`
	}{t.Name, t.Shape, t.From.String(), t.To.String(), t.FromBytes, t.ToBytes, t.Note})
}

// Model is the model that the plan makes. Its weights are converted as they are read,
// so it lives as long as the source does. Reading them fails with [ErrInvalidWeights]
// if they are not finite, or if the new type cannot hold them.
func (p *Plan) Model() gguf.Model {
	tensors := make([]*gguf.Tensor, len(p.Tensors))
	for i, pt := range p.Tensors {
		src, _ := p.source.Tensor(pt.Name)
		tensors[i] = &gguf.Tensor{
			Name: pt.Name, Type: pt.To, Shape: pt.Shape, RawSize: src.RawSize,
			Data: newConversion(src, pt.To, p.importance(src), p.opts.Threads),
		}
	}
	return gguf.Assemble(p.metadata(), tensors)
}

// droppedKeys hold of the source file, not of the new one.
var droppedKeys = []string{"split.no", "split.count", "split.tensors.count", "general.alignment"}

// metadata copies the source's and names the new file type at the end, where
// llama-quantize puts it.
func (p *Plan) metadata() *gguf.Metadata {
	md := p.source.Metadata().Clone()
	for _, key := range droppedKeys {
		md.Delete(key)
	}
	for _, kv := range append([]gguf.KV{
		{Key: "general.quantization_version", Value: uint32(2)},
		{Key: "general.file_type", Value: p.id},
	}, p.opts.Metadata...) {
		md.Delete(kv.Key)
		md.Set(kv.Key, kv.Value)
	}
	return md
}
