package convert

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"qtool/gguf"
	"qtool/internal/printable"
	"qtool/safetensors"
)

var (
	// ErrUnsupported is in the chain of every error about a valid model that this
	// package does not convert.
	ErrUnsupported = errors.New("unsupported model")
	// ErrInvalid is in the chain of every error about a folder whose files are
	// broken or contradict each other. Broken safetensors files match
	// [safetensors.ErrFormat] instead, broken tokenizers [tokenizer.ErrInvalid].
	ErrInvalid = errors.New("invalid model folder")
)

// Model is a Hugging Face folder seen as a GGUF model. Weights keep their
// floating-point type; those of 8 bits become F32 if they are scaled, else BF16. Vectors,
// routers and biases are F32, as llama.cpp expects.
type Model struct {
	gguf.Model
	folder  *safetensors.Folder
	remarks []string
}

// Remarks say what the user should know of how the folder was read.
func (m *Model) Remarks() []string { return m.remarks }

// Close releases the folder's files; tensor data is not readable afterwards.
func (m *Model) Close() error { return m.folder.Close() }

// Options are what the user decides about a conversion.
type Options struct {
	// Pre names the pre-tokenizer, "" to find it by what the folder's own one does.
	Pre string
}

// Open is [OpenWith] without options.
func Open(dir string) (*Model, error) { return OpenWith(dir, Options{}) }

// OpenWith reads config.json, the tokenizer and the headers of the safetensors
// files in dir, and checks that the tensors are exactly those that the
// architecture has, in the shapes that the configuration gives. Tensor data is
// not read. An architecture or option that is not handled is refused with
// [ErrUnsupported]. The caller closes the model.
func OpenWith(dir string, opts Options) (*Model, error) {
	m, err := open(dir, opts)
	if err != nil {
		return nil, fmt.Errorf("converting %s: %w", dir, err)
	}
	return m, nil
}

func open(dir string, opts Options) (*Model, error) {
	c, err := readConfig(filepath.Join(dir, "config.json"))
	if err != nil {
		return nil, err
	}
	fam, err := findFamily(c)
	if err != nil {
		return nil, err
	}
	folder, err := safetensors.OpenFolder(dir)
	if err != nil {
		return nil, err
	}
	m, err := assemble(dir, c, fam, folder, opts)
	if err != nil {
		folder.Close()
		return nil, err
	}
	return m, nil
}

func findFamily(c *config) (*family, error) {
	names := c.strings("architectures")
	if err := c.err; err != nil {
		return nil, err
	}
	for _, name := range names {
		if fam, ok := families[name]; ok {
			return fam, nil
		}
	}
	return nil, refuse("the architecture %s is not handled; these are: %s",
		strings.Join(printable.Texts(names), ", "), strings.Join(Supported(), ", "))
}

func assemble(dir string, c *config, fam *family, folder *safetensors.Folder, opts Options) (*Model, error) {
	if err := checkQuantization(c); err != nil {
		return nil, err
	}
	if err := fam.accept(c); err != nil {
		return nil, err
	}
	d, err := readDims(c, holdingOf(folder), formOfExperts(folder, c), fam)
	if err != nil {
		return nil, err
	}
	d.packed = holdsPacked(folder)
	rope, err := readRope(c, d, fam)
	if err != nil {
		return nil, err
	}
	d.rope = rope
	list := &recipes{}
	fam.recipes(list, c, d)
	if c.err != nil {
		return nil, c.err
	}
	rope.recipes(list, d)
	if c.has("text_config") {
		list.inside(placeInside(folder))
	}
	weights, err := newFolder8(c, folder)
	if err != nil {
		return nil, err
	}
	tensors, err := list.resolve(weights)
	if err != nil {
		return nil, err
	}
	vocab, err := fam.readVocab(dir, d, opts)
	if err != nil {
		return nil, err
	}
	w := &metadataWriter{arch: fam.arch, md: &gguf.Metadata{}}
	if err := w.general(dir, c, tensors); err != nil {
		return nil, err
	}
	w.hyperparameters(d, rope)
	w.fileType(tensors)
	if fam.metadata != nil {
		fam.metadata(w, c, d)
	}
	if c.err != nil {
		return nil, c.err
	}
	w.md.Set("general.quantization_version", uint32(2))
	vocab.WriteMetadata(w.md)
	return &Model{gguf.Assemble(w.md, tensors, folder), folder, vocab.Remarks}, nil
}

// refuse makes an error about an option that is not handled, invalid one about
// a contradiction.
func refuse(format string, args ...any) error  { return mark(ErrUnsupported, format, args) }
func invalid(format string, args ...any) error { return mark(ErrInvalid, format, args) }

func mark(kind error, format string, args []any) error {
	return fmt.Errorf("%w: %s", kind, fmt.Sprintf(format, args...))
}
