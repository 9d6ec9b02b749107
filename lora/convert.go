package lora

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"qtool/gguf"
	"qtool/internal/arch"
	"qtool/internal/atomicfile"
	"qtool/internal/convert"
	"qtool/internal/input"
	"qtool/internal/peft"
	"qtool/internal/torchfile"
	"qtool/safetensors"
)

// Form is in what files an adapter is.
type Form int

// The forms.
const (
	GGUF Form = iota // one file
	PEFT             // adapter_config.json and adapter_model.safetensors, or read: adapter_model.bin
	MLX              // of mlx-lm: adapter_config.json and adapters.safetensors
)

// String is the name of the form.
func (f Form) String() string { return [...]string{"GGUF", "PEFT", "mlx-lm"}[f] }

// ErrNeedsBase is in the chain of the error about an adapter of which only its model tells what
// its weights are called, or how their rows are ordered.
var ErrNeedsBase = peft.ErrNeedsBase

// Layout says which weights of a Hugging Face model are which tensors of GGUF. nil stands for
// what an adapter itself tells, which is enough where these are the same matrices.
type Layout struct{ layout *convert.Layout }

// LayoutOf reads the metadata and the shapes of a model.
func LayoutOf(base gguf.Model) (*Layout, error) {
	l, err := convert.LayoutOfGGUF(base)
	if err != nil {
		return nil, err
	}
	return &Layout{l}, nil
}

// LayoutOfFolder reads config.json of a Hugging Face folder, whose weights need not be there.
func LayoutOfFolder(dir string) (*Layout, error) {
	l, err := convert.LayoutOfFolder(dir)
	if err != nil {
		return nil, err
	}
	return &Layout{l}, nil
}

// Conversion says what was done beside renaming and reordering. The factors of pairs that are in
// none of its lists are those of the source, bit for bit. Names are of tensors in GGUF where the
// adapter is read, of weights of the folder where it is written.
type Conversion struct {
	Pairs int
	// Folded are pairs whose B was multiplied, since the result has one alpha or scale for all.
	Folded []Folded
	// Joined have the ranks of several pairs of the source, Padded some ranks of zeros.
	Joined, Padded []string
	// Idle are pairs of the source that change nothing and were left out.
	Idle []string
	// Rounded is how many values the storage type does not hold as they were.
	Rounded int
}

// Folded is a pair whose B was multiplied by a factor.
type Folded struct {
	Name   string
	Factor float32
}

func conversionOf(r *peft.Report) *Conversion {
	c := &Conversion{Pairs: r.Pairs, Joined: r.Joined, Padded: r.Padded, Idle: r.Idle, Rounded: r.Rounded}
	for _, f := range r.Folded {
		c.Folded = append(c.Folded, Folded(f))
	}
	return c
}

// FormOf finds out in what form the adapter at path is: a file is GGUF, a folder is what its
// weights are called.
func FormOf(path string) (Form, error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	if !info.IsDir() {
		return GGUF, nil
	}
	p, err := peft.Open(path)
	if err != nil {
		return 0, ofPeft(err)
	}
	defer p.Close()
	return formOf(p), nil
}

func formOf(p *peft.Adapter) Form {
	if p.Form == peft.MLX {
		return MLX
	}
	return PEFT
}

// BaseOf is the repository or the path of the model that the adapter in a folder says to be for;
// "" if it says nothing.
func BaseOf(dir string) (string, error) {
	p, err := peft.Open(dir)
	if err != nil {
		return "", ofPeft(err)
	}
	defer p.Close()
	return p.BaseModel(), nil
}

// Values is how many numbers the adapter at path has, a GGUF file or a folder. It reads no data.
func Values(path string) (n int64, err error) {
	if form, err := FormOf(path); err != nil || form == GGUF {
		if err != nil {
			return 0, err
		}
		f, err := gguf.Open(path, gguf.WithoutMapping()) // which fails if data are missing
		if err != nil {
			return 0, err
		}
		defer f.Close()
		for _, t := range f.Tensors() {
			n += int64(t.Elements())
		}
		return n, nil
	}
	p, err := peft.Open(path)
	if err != nil {
		return 0, ofPeft(err)
	}
	defer p.Close()
	for _, t := range p.Tensors {
		n += t.Size() * 8 / int64(t.DType.Bits())
	}
	return n, nil
}

// OpenFor reads an adapter for the model base: a GGUF file as [Open] does, or a folder as
// [OpenFolder] does.
func OpenFor(path string, base gguf.Model) (*Adapter, error) {
	if !isDir(path) {
		return Open(path)
	}
	l, err := LayoutOf(base)
	if err != nil {
		return nil, err
	}
	a, _, err := OpenFolder(path, l)
	return a, err
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// OpenFolder reads an adapter of PEFT or mlx-lm for the model of a layout. Rows of B are put in
// the order that GGUF has, scales are those that [Adapter.Scale] gives; see [Conversion]. Errors
// match [ErrUnsupported] if the folder holds more than pairs, [ErrMismatch] if pairs are on weights
// that the model does not have, or of another size, and [ErrInvalid] if its files are broken;
// without a layout [ErrNeedsBase] where it takes the model to tell.
func OpenFolder(dir string, l *Layout) (*Adapter, *Conversion, error) {
	p, err := peft.Open(dir)
	if err != nil {
		return nil, nil, ofPeft(err)
	}
	defer p.Close()
	a, r, err := fromFolder(p, l)
	if err != nil {
		return nil, nil, ofPeft(fmt.Errorf("reading the adapter %s: %w", dir, err))
	}
	return a, r, nil
}

func fromFolder(p *peft.Adapter, l *Layout) (*Adapter, *Conversion, error) {
	layout, err := layoutFor(l, func() (*convert.Outline, error) {
		name, err := p.Architecture(convert.ArchitectureOf)
		if err == nil && name == "" {
			err = fmt.Errorf("%w: nothing in the folder tells the architecture of its model, which GGUF records", ErrNeedsBase)
		}
		if err != nil {
			return nil, err
		}
		return p.Outline(name)
	})
	if err != nil {
		return nil, nil, err
	}
	r := &peft.Report{}
	m, err := peft.ToGGUF(layout, p, r)
	if err != nil {
		return nil, nil, err
	}
	if _, ok := m.Tensor(arch.TokenEmbedding + ".lora_a"); ok && layout.Target(arch.Output) == nil && !layout.Outlined {
		return nil, nil, fmt.Errorf("%w: it has a pair on the embedding, which in this model is the head as well: neither llama.cpp nor a merged model can change one without the other", ErrUnsupported)
	}
	a, err := FromModel(m)
	if err != nil {
		return nil, nil, err
	}
	a.MergeOnly = len(a.Ignored()) > 0
	return a, conversionOf(r), nil
}

// layoutFor is that of l, or of an outline where there is none.
func layoutFor(l *Layout, outline func() (*convert.Outline, error)) (*convert.Layout, error) {
	if l != nil {
		return l.layout, nil
	}
	o, err := outline()
	if err != nil {
		return nil, err
	}
	layout, err := convert.LayoutOfOutline(o)
	if errors.Is(err, convert.ErrUnsupported) && arch.Find(o.Arch) != nil {
		err = fmt.Errorf("%w: %w", ErrNeedsBase, err)
	}
	return layout, err
}

// Ignored lists the tensors of pairs that llama.cpp does not apply, each with the reason; the
// adapter takes effect there once it is merged.
func (a *Adapter) Ignored() (tensors []Target) {
	row := arch.Find(a.Architecture)
	if row == nil {
		return nil
	}
	for _, p := range a.Pairs {
		if why := row.WhyRefused(arch.ShortName(p.Tensor)); why != "" {
			tensors = append(tensors, Target{Tensor: p.Tensor, Refused: why})
		}
	}
	return tensors
}

// FileOptions say how an adapter is written.
type FileOptions struct {
	Form Form
	// Type is in which the halves are stored: F32, F16 or BF16.
	Type gguf.Type
	// Base is the repository or the path of the model that a folder names; "" for that which the
	// adapter names.
	Base string
	// Parameters gives pairs on experts as transformers 5 has them (target_parameters), where
	// transformers 4 has a module for each.
	Parameters bool
}

// Save writes the adapter: to the file path, with hashes as [Adapter.WriteFile] does, or to the two
// files of the folder path, which is made if it is not there. l is the layout of its model, which
// GGUF does not need. What is written appears whole or not at all. Errors are those of [OpenFolder].
func (a *Adapter) Save(ctx context.Context, path string, l *Layout, o FileOptions) (*Conversion, error) {
	m, err := a.Model()
	if err != nil {
		return nil, err
	}
	r := &peft.Report{}
	if o.Form == GGUF {
		if m, err = peft.Narrow(m, o.Type, r); err != nil {
			return nil, ofPeft(err)
		}
		r.Pairs = len(a.Pairs)
		return conversionOf(r), gguf.WriteFile(ctx, path, m, gguf.WithHashes())
	}
	layout, err := layoutFor(l, func() (*convert.Outline, error) { return peft.OutlineOfGGUF(m) })
	if err != nil {
		return nil, ofPeft(err)
	}
	form := map[Form]peft.Form{PEFT: peft.PEFT, MLX: peft.MLX}[o.Form]
	p, err := peft.FromGGUF(layout, m, peft.Options{Form: form, Base: o.Base, Parameters: o.Parameters, Type: o.Type}, r)
	if err != nil {
		return nil, ofPeft(err)
	}
	_, before := os.Stat(path)
	if err := atomicfile.MkdirAll(path, 0o777); err != nil {
		return nil, err
	}
	if err := p.Write(ctx, path); err != nil {
		if errors.Is(before, fs.ErrNotExist) {
			err = errors.Join(err, empty(path, true))
		}
		return nil, err
	}
	return conversionOf(r), nil
}

// Files are the paths that [Adapter.Save] writes in a form to path.
func (f Form) Files(path string) []string {
	if f == GGUF {
		return []string{path}
	}
	var files []string
	for _, name := range (map[Form]peft.Form{PEFT: peft.PEFT, MLX: peft.MLX}[f]).Files() {
		files = append(files, filepath.Join(path, name))
	}
	return files
}

// kindError is an error of another package under a kind of this one.
type kindError struct{ kind, err error }

func (e *kindError) Error() string   { return e.err.Error() }
func (e *kindError) Unwrap() []error { return []error{e.kind, e.err} }

// ofPeft gives errors of the packages that read folders the kinds of this one.
func ofPeft(err error) error {
	for _, k := range []struct{ of, kind error }{
		{peft.ErrMismatch, ErrMismatch}, {peft.ErrUnsupported, ErrUnsupported}, {torchfile.ErrUnsupported, ErrUnsupported},
		{peft.ErrInvalid, ErrInvalid}, {torchfile.ErrInvalid, ErrInvalid}, {safetensors.ErrFormat, ErrInvalid}, {input.ErrNotRegular, ErrInvalid},
	} {
		if errors.Is(err, k.of) {
			return &kindError{k.kind, err}
		}
	}
	return err
}
