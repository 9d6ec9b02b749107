package adapt

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"qtool/gguf"
	"qtool/internal/arch"
	"qtool/internal/kernel/vector"
	"qtool/internal/nn"
	"qtool/quantize"
)

const (
	suffixA = ".lora_a"
	suffixB = ".lora_b"

	keyType        = "general.type"
	keyAdapterType = "adapter.type"
	keyAlpha       = "adapter.lora.alpha"
	keyInvocation  = "adapter.alora.invocation_tokens"
	keyMergeOnly   = "qtool.merge_only" // a bool of ours
)

// Open reads an adapter file.
func Open(path string) (*Adapter, error) { return open(path, FromModel) }

// OpenSparse reads an adapter file as [FromModelSparse] does.
func OpenSparse(path string) (*Adapter, error) { return open(path, FromModelSparse) }

func open(path string, from func(gguf.Model) (*Adapter, error)) (*Adapter, error) {
	var a *Adapter
	err := read(path, func(f *gguf.File) (err error) {
		if a, err = from(f); err != nil {
			return err
		}
		return f.Unchanged()
	})
	if err != nil {
		return nil, err
	}
	return a, nil
}

// ReadBack makes sure that an adapter which was just written can be read. It does not mind
// if another process has replaced the file since, as [Open] does.
func ReadBack(path string) error {
	return read(path, func(f *gguf.File) error {
		_, err := FromModel(f)
		return err
	})
}

// read opens an adapter file whose hashes are right for use.
func read(path string, use func(*gguf.File) error) error {
	f, err := gguf.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err = checkHashes(f); err == nil {
		err = use(f)
	}
	if err != nil {
		return fmt.Errorf("reading adapter %s: %w", path, err)
	}
	return nil
}

// checkHashes finds damage of an adapter that says what its bytes should be.
func checkHashes(m gguf.Model) error {
	if !gguf.Hashed(m) {
		return nil
	}
	r, err := gguf.ExamineHashes(context.Background(), m)
	if err != nil {
		return err
	}
	return r.Err()
}

// FromModel reads an adapter out of a GGUF-shaped model; it keeps nothing of m.
// What llama.cpp refuses or ignores matches [ErrInvalid].
func FromModel(m gguf.Model) (*Adapter, error) { return fromModel(m, false) }

// FromModelSparse is FromModel that holds, of a stack of experts, only those whose
// pair is not all zero.
func FromModelSparse(m gguf.Model) (*Adapter, error) { return fromModel(m, true) }

func fromModel(m gguf.Model, sparse bool) (*Adapter, error) {
	a := &Adapter{Extra: m.Metadata().Clone()}
	for _, want := range [][2]string{{keyType, "adapter"}, {keyAdapterType, "lora"}} {
		if v, err := m.Metadata().Str(want[0]); err != nil || v != want[1] {
			return nil, fmt.Errorf("%w: metadata key %q must be %q and is %q", ErrInvalid, want[0], want[1], v)
		}
	}
	var err error
	if a.Architecture, err = m.Metadata().Str(arch.KeyArchitecture); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if v, ok := m.Metadata().Get(keyAlpha); ok {
		alpha, isFloat := v.(float32)
		if !isFloat {
			return nil, fmt.Errorf("%w: metadata key %q must be a float32 and is %T", ErrInvalid, keyAlpha, v)
		}
		if !(math.Abs(float64(alpha)) <= math.MaxFloat32) {
			return nil, fmt.Errorf("%w: metadata key %q is %g", ErrInvalid, keyAlpha, alpha)
		}
		a.Alpha = alpha
	}
	if m.Metadata().Has(keyInvocation) {
		return nil, fmt.Errorf("%w: it is an activated LoRA, which works only after its invocation tokens (%s)", ErrUnsupported, keyInvocation)
	}
	if a.MergeOnly, err = gguf.Or(m.Metadata().Bool(keyMergeOnly))(false); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	for _, key := range []string{keyType, arch.KeyArchitecture, keyAdapterType, keyAlpha, keyMergeOnly} {
		a.Extra.Delete(key)
	}
	gguf.DropHashes(a.Extra) // they are of this file
	if err := a.readPairs(m, sparse); err != nil {
		return nil, err
	}
	return a, nil
}

func (a *Adapter) readPairs(m gguf.Model, sparse bool) error {
	pairs := map[string]*Pair{}
	for _, t := range m.Tensors() {
		base, isA := strings.CutSuffix(t.Name, suffixA)
		if !isA {
			var isB bool
			if base, isB = strings.CutSuffix(t.Name, suffixB); !isB {
				return fmt.Errorf("%w: tensor %q is neither %s nor %s", ErrInvalid, t.Name, suffixA, suffixB)
			}
		}
		p := pairs[base]
		if p == nil {
			p = &Pair{Tensor: base}
			pairs[base] = p
			a.Pairs = append(a.Pairs, p)
		}
		param, err := readParam(t)
		if err != nil {
			return err
		}
		if isA {
			p.A = param
		} else {
			p.B = param
		}
		if sparse && p.A != nil && p.B != nil {
			p.dropIdle()
		}
	}
	for _, p := range a.Pairs {
		if err := p.complete(); err != nil {
			return err
		}
		p.LoRAPair.Scale = a.Scale(p.Rank)
	}
	if len(a.Pairs) == 0 {
		return fmt.Errorf("%w: it has no pairs", ErrInvalid)
	}
	return nil
}

// complete checks that both halves are there and agree on the rank.
func (p *Pair) complete() error {
	if p.A == nil || p.B == nil {
		return fmt.Errorf("%w: %q has only one half of its pair", ErrInvalid, p.Tensor)
	}
	if strings.HasSuffix(p.Tensor, "_norm.weight") {
		return fmt.Errorf("%w: it has a pair for %q, and llama.cpp ignores pairs on norms", ErrInvalid, p.Tensor)
	}
	p.Rank = p.B.Shape[0]
	rankOfA := p.A.Shape[1]
	if p.Tensor == arch.TokenEmbedding {
		rankOfA = p.A.Shape[0]
	}
	if p.Rank < 1 || rankOfA != p.Rank {
		return fmt.Errorf("%w: the halves of %q have shapes %v and %v, which do not share a rank", ErrInvalid, p.Tensor, p.A.Shape, p.B.Shape)
	}
	return nil
}

func readParam(t *gguf.Tensor) (*nn.Param, error) {
	if err := checkHalfShape(t.Name, t.Shape); err != nil {
		return nil, err
	}
	data, err := quantize.Decode(t)
	if err != nil {
		return nil, err
	}
	p := &nn.Param{Name: t.Name, Shape: t.Shape, Data: data}
	return p, checkHalfValues(p)
}

func checkHalfShape(name string, shape []int) error {
	if len(shape) < 2 || len(shape) > 3 {
		return fmt.Errorf("%w: tensor %q has %d dimensions, a half of a pair has 2 or 3", ErrInvalid, name, len(shape))
	}
	if slices.Min(shape) < 1 {
		return fmt.Errorf("%w: tensor %q has shape %v, which holds nothing", ErrInvalid, name, shape)
	}
	return nil
}

func checkHalfValues(p *nn.Param) error {
	if i := vector.FirstNotFinite(p.Data); i >= 0 {
		return fmt.Errorf("%w: element %d of tensor %q is %g", ErrInvalid, i, p.Name, p.Data[i])
	}
	return nil
}

// NewPair is a pair on a tensor of the base with halves that have shapes and values, whose
// names it sets. It fails with [ErrInvalid] if they are no pair.
func NewPair(tensor string, a, b *nn.Param) (*Pair, error) {
	p := &Pair{Tensor: tensor, LoRAPair: nn.LoRAPair{A: a, B: b}}
	a.Name, b.Name = tensor+suffixA, tensor+suffixB
	for _, half := range []*nn.Param{a, b} {
		if err := checkHalfShape(half.Name, half.Shape); err != nil {
			return nil, err
		}
		t := gguf.Tensor{Shape: half.Shape}
		if n := t.Elements(); n != len(half.Data) {
			return nil, fmt.Errorf("%w: tensor %q of shape %v has %d values, not %d", ErrInvalid, half.Name, half.Shape, n, len(half.Data))
		}
		if err := checkHalfValues(half); err != nil {
			return nil, err
		}
	}
	return p, p.complete()
}

// Model is the adapter as the GGUF that llama.cpp loads, all halves F32. It
// shares their memory.
func (a *Adapter) Model() gguf.Model {
	md := &gguf.Metadata{}
	md.Set(arch.KeyArchitecture, a.Architecture)
	md.Set(keyType, "adapter")
	md.Set(keyAdapterType, "lora")
	md.Set(keyAlpha, a.Alpha)
	if a.MergeOnly {
		md.Set(keyMergeOnly, true)
	}
	if a.Extra != nil {
		for _, kv := range a.Extra.All() {
			md.Set(kv.Key, kv.Value)
		}
	}
	var tensors []*gguf.Tensor
	for _, p := range a.Pairs {
		tensors = append(tensors, p.tensors()...)
	}
	if a.base == nil {
		return gguf.Assemble(md, tensors)
	}
	return gguf.Assemble(md, tensors, a.base)
}

// WriteFile writes the adapter with hashes of all that is in it, which [Open] compares. The
// file appears whole or not at all, and not if the base is no longer what it was.
func (a *Adapter) WriteFile(ctx context.Context, path string) error {
	if err := gguf.WriteFile(ctx, path, a.Model(), gguf.WithHashes()); err != nil {
		return fmt.Errorf("writing adapter: %w", err)
	}
	return nil
}
