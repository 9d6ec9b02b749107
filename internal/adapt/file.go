package adapt

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"

	"qtool/gguf"
	"qtool/internal/arch"
	"qtool/internal/input"
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

// NoFolder refuses a folder, which adapters of other programs are.
func NoFolder(path string) error {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return fmt.Errorf("adapter %s: %w: it is a folder; qtool lora convert makes a GGUF file of a PEFT or MLX folder", path, input.ErrNotRegular)
	}
	return nil
}

// read opens an adapter file whose hashes are right for use.
func read(path string, use func(*gguf.File) error) error {
	if err := NoFolder(path); err != nil {
		return err
	}
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
// What llama.cpp refuses or ignores matches [ErrInvalid]; errors about the adapter are a [*Fault].
func FromModel(m gguf.Model) (*Adapter, error) { return fromModel(m, false, first) }

// FromModelSparse is FromModel that holds, of a stack of experts, only those whose
// pair is not all zero.
func FromModelSparse(m gguf.Model) (*Adapter, error) { return fromModel(m, true, first) }

// Examine is FromModel that goes on after a fault and returns all of them, those against the
// hashes of the file too. The adapter has the pairs without one, and is nil if m has none of the
// marks of an adapter. An error is about reading m.
func Examine(m gguf.Model) (*Adapter, []*Fault, error) {
	var faults []*Fault
	found := collect(&faults)
	if err := checkHashes(m); errors.Is(err, gguf.ErrFormat) {
		found(&Fault{Code: DamagedHash, Text: err.Error(), kind: ErrInvalid})
	} else if err != nil {
		return nil, nil, err
	}
	if kind, _ := m.Metadata().Str(keyType); kind != "adapter" && !slices.ContainsFunc(m.Tensors(), isHalf) {
		found(notAn(keyType, "adapter", kind))
		return nil, faults, nil
	}
	a, err := fromModel(m, false, found)
	return a, faults, err
}

func isHalf(t *gguf.Tensor) bool {
	return strings.HasSuffix(t.Name, suffixA) || strings.HasSuffix(t.Name, suffixB)
}

// notAn is the fault of a metadata key that says what a file is.
func notAn(key, want, got string) *Fault {
	code := NotAnAdapter
	if key == keyAdapterType {
		code = NotLoRA
	}
	return &Fault{Code: code, Key: key, Text: fmt.Sprintf("metadata key %q must be %q and is %q", key, want, got), kind: ErrInvalid}
}

func fromModel(m gguf.Model, sparse bool, found judge) (*Adapter, error) {
	a := &Adapter{Extra: m.Metadata().Clone()}
	if err := a.readMetadata(m.Metadata(), found); err != nil {
		return nil, err
	}
	for _, key := range []string{keyType, arch.KeyArchitecture, keyAdapterType, keyAlpha, keyMergeOnly} {
		a.Extra.Delete(key)
	}
	gguf.DropHashes(a.Extra) // they are of this file
	if err := a.readPairs(m, sparse, found); err != nil {
		return nil, err
	}
	return a, nil
}

func (a *Adapter) readMetadata(md *gguf.Metadata, found judge) error {
	for _, want := range [][2]string{{keyType, "adapter"}, {keyAdapterType, "lora"}} {
		if v, err := md.Str(want[0]); err != nil || v != want[1] {
			if err := found(notAn(want[0], want[1], v)); err != nil {
				return err
			}
		}
	}
	fault := func(code Code, key string, kind error, format string, args ...any) error {
		return found(&Fault{Code: code, Key: key, Text: fmt.Sprintf(format, args...), kind: kind})
	}
	var err error
	if a.Architecture, err = md.Str(arch.KeyArchitecture); err != nil {
		if err := fault(NoArchitecture, arch.KeyArchitecture, ErrInvalid, "%v", err); err != nil {
			return err
		}
	}
	if v, ok := md.Get(keyAlpha); ok {
		switch alpha, isFloat := v.(float32); {
		case !isFloat:
			err = fault(BadAlpha, keyAlpha, ErrInvalid, "metadata key %q must be a float32 and is %T", keyAlpha, v)
		case !(math.Abs(float64(alpha)) <= math.MaxFloat32):
			err = fault(BadAlpha, keyAlpha, ErrInvalid, "metadata key %q is %g", keyAlpha, alpha)
		default:
			a.Alpha, err = alpha, nil
		}
		if err != nil {
			return err
		}
	}
	if md.Has(keyInvocation) {
		if err := fault(Activated, keyInvocation, ErrUnsupported, "it is an activated LoRA, which works only after its invocation tokens (%s)", keyInvocation); err != nil {
			return err
		}
	}
	if a.MergeOnly, err = gguf.Or(md.Bool(keyMergeOnly))(false); err != nil {
		return fault(BadMergeOnly, keyMergeOnly, ErrInvalid, "%v", err)
	}
	return nil
}

// readPairs reads all pairs, and keeps those without a fault.
func (a *Adapter) readPairs(m gguf.Model, sparse bool, found judge) error {
	pairs, faulty := map[string]*Pair{}, map[string]bool{}
	var order []*Pair
	for _, t := range m.Tensors() {
		base, isA := strings.CutSuffix(t.Name, suffixA)
		if !isA {
			var isB bool
			if base, isB = strings.CutSuffix(t.Name, suffixB); !isB {
				f := &Fault{Code: UnexpectedTensor, Tensor: t.Name, Text: fmt.Sprintf("tensor %q is neither %s nor %s", t.Name, suffixA, suffixB), kind: ErrInvalid}
				if err := found(f); err != nil {
					return err
				}
				continue
			}
		}
		p := pairs[base]
		if p == nil {
			p = &Pair{Tensor: base}
			pairs[base] = p
			order = append(order, p)
		}
		param, fault, err := readParam(t)
		if err == nil && fault != nil {
			faulty[base] = true
			err = found(fault)
		}
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
	for _, p := range order {
		if faulty[p.Tensor] {
			continue
		}
		if fault := p.complete(); fault != nil {
			if err := found(fault); err != nil {
				return err
			}
			continue
		}
		p.LoRAPair.Scale = a.Scale(p.Rank)
		a.Pairs = append(a.Pairs, p)
	}
	if len(order) == 0 {
		return found(&Fault{Code: NoPairs, Text: "it has no pairs", kind: ErrInvalid})
	}
	return nil
}

// complete checks that both halves are there and agree on the rank.
func (p *Pair) complete() *Fault {
	fault := func(code Code, format string, args ...any) *Fault {
		return &Fault{Code: code, Tensor: p.Tensor, Text: fmt.Sprintf(format, args...), kind: ErrInvalid}
	}
	if p.A == nil || p.B == nil {
		return fault(LoneHalf, "%q has only one half of its pair", p.Tensor)
	}
	if strings.HasSuffix(p.Tensor, "_norm.weight") {
		return fault(OnNorm, "it has a pair for %q, and llama.cpp ignores pairs on norms", p.Tensor)
	}
	p.Rank = p.B.Shape[0]
	rankOfA := p.A.Shape[1]
	if p.Tensor == arch.TokenEmbedding {
		rankOfA = p.A.Shape[0]
	}
	if p.Rank < 1 || rankOfA != p.Rank {
		return fault(RanksDiffer, "the halves of %q have shapes %v and %v, which do not share a rank", p.Tensor, p.A.Shape, p.B.Shape)
	}
	return nil
}

// readParam reads a half. One with a fault is not nil, but holds no values.
func readParam(t *gguf.Tensor) (*nn.Param, *Fault, error) {
	p := &nn.Param{Name: t.Name, Shape: t.Shape}
	if fault := checkHalfShape(t.Name, t.Shape); fault != nil {
		return p, fault, nil
	}
	data, err := quantize.Decode(t)
	if errors.Is(err, quantize.ErrUnsupported) {
		return p, &Fault{Code: BadType, Tensor: t.Name, Text: err.Error(), kind: ErrUnsupported}, nil
	}
	if err != nil {
		return nil, nil, err
	}
	p.Data = data
	return p, checkHalfValues(p), nil
}

func checkHalfShape(name string, shape []int) *Fault {
	fault := func(format string, args ...any) *Fault {
		return &Fault{Code: BadShape, Tensor: name, Text: fmt.Sprintf(format, args...), kind: ErrInvalid}
	}
	if len(shape) < 2 || len(shape) > 3 {
		return fault("tensor %q has %d dimensions, a half of a pair has 2 or 3", name, len(shape))
	}
	if slices.Min(shape) < 1 {
		return fault("tensor %q has shape %v, which holds nothing", name, shape)
	}
	return nil
}

func checkHalfValues(p *nn.Param) *Fault {
	if i := vector.FirstNotFinite(p.Data); i >= 0 {
		return &Fault{Code: NotFinite, Tensor: p.Name, Text: fmt.Sprintf("element %d of tensor %q is %g", i, p.Name, p.Data[i]), kind: ErrInvalid}
	}
	return nil
}

// NewPair is a pair on a tensor of the base with halves that have shapes and values, whose
// names it sets. It fails with [ErrInvalid] if they are no pair.
func NewPair(tensor string, a, b *nn.Param) (*Pair, error) {
	p := &Pair{Tensor: tensor, LoRAPair: nn.LoRAPair{A: a, B: b}}
	a.Name, b.Name = tensor+suffixA, tensor+suffixB
	for _, half := range []*nn.Param{a, b} {
		if fault := checkHalfShape(half.Name, half.Shape); fault != nil {
			return nil, fault
		}
		t := gguf.Tensor{Shape: half.Shape}
		if n := t.Elements(); n != len(half.Data) {
			return nil, fmt.Errorf("%w: tensor %q of shape %v has %d values, not %d", ErrInvalid, half.Name, half.Shape, n, len(half.Data))
		}
		if fault := checkHalfValues(half); fault != nil {
			return nil, fault
		}
	}
	if fault := p.complete(); fault != nil {
		return nil, fault
	}
	return p, nil
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
