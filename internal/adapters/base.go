package adapters

import (
	"cmp"
	"context"
	"fmt"

	"qtool/gguf"
	"qtool/internal/printable"
	"qtool/lora"
	"qtool/quantize"
)

// mostHashed is how many bytes of weights are read to find out whether a base is the one that an
// adapter was trained on, before anything is computed: about a second. Of larger ones names and
// file types tell, and lora verify reads all.
const mostHashed = 1 << 30

// Base is a model that adapters are used with.
type Base struct {
	model gguf.Model
	named lora.Base // as its metadata have it
	full  lora.Base // with the hash of its tensors, once that was needed
}

// NewBase looks at the metadata of m.
func NewBase(m gguf.Model) (*Base, error) {
	named, err := lora.Identify(context.Background(), gguf.Assemble(m.Metadata(), nil), nil)
	named.SHA256 = "" // of no tensors
	return &Base{model: m, named: named}, err
}

// Foreign is what to say of an adapter that was trained on another base.
type Foreign struct {
	Model bool   // it is another model, and not the same with other weights
	Text  string // says what both are
}

// Compare compares the base with the one that an adapter says it was trained on; nil where it
// says nothing, or that it is the same. Where names do not tell and the weights are few enough,
// they are hashed.
func (b *Base) Compare(ctx context.Context, a *Adapter) (*Foreign, error) {
	trained, ok := lora.Recorded(a.Metadata())
	if !ok {
		return nil, nil
	}
	here := b.named
	relation := here.RelationTo(trained)
	otherType := trained.FileType >= 0 && here.FileType >= 0 && trained.FileType != here.FileType
	hashed := false
	if trained.SHA256 != "" && (relation == lora.OtherModel || !otherType) && b.size() <= mostHashed {
		var err error
		if here, err = b.identify(ctx); err != nil {
			return nil, err
		}
		relation, hashed = here.RelationTo(trained), true
	}
	switch {
	case relation == lora.OtherModel:
		return &Foreign{true, fmt.Sprintf("%s was trained on %s, and this is %s", printable.Text(a.Path), describe(trained, here), describe(here, trained))}, nil
	case relation == lora.SameModel && otherType:
		return &Foreign{false, fmt.Sprintf("%s was trained on the same model in another quantization: %s, and this is %s", printable.Text(a.Path), fileType(trained), fileType(here))}, nil
	case relation == lora.SameModel && hashed:
		return &Foreign{false, fmt.Sprintf("%s was trained on other weights of the same name: %s, and this is %s", printable.Text(a.Path), describe(trained, here), describe(here, trained))}, nil
	}
	return nil, nil
}

func (b *Base) size() (n int64) {
	for _, t := range b.model.Tensors() {
		n += t.Size()
	}
	return n
}

func (b *Base) identify(ctx context.Context) (_ lora.Base, err error) {
	if b.full.SHA256 == "" {
		b.full, err = lora.Identify(ctx, b.model, nil)
	}
	return b.full, err
}

// describe tells a base by its name, architecture and file type, and by its hash where all of
// that is as the other has it.
func describe(b, other lora.Base) string {
	text := fmt.Sprintf("%s (%s, %s", printable.Quote(cmp.Or(b.Name, "a model without a name")), printable.Text(cmp.Or(b.Architecture, "architecture unknown")), fileType(b))
	if b.Name == other.Name && b.Architecture == other.Architecture && b.FileType == other.FileType && b.SHA256 != "" {
		text += fmt.Sprintf(", tensors %.8s", printable.Text(b.SHA256))
	}
	return text + ")"
}

func fileType(b lora.Base) string {
	if b.FileType < 0 {
		return "file type unknown"
	}
	return cmp.Or(quantize.FileTypeName(b.FileType), fmt.Sprintf("file type %d", b.FileType))
}
