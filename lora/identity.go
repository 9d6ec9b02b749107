package lora

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"

	"qtool/gguf"
	"qtool/internal/arch"
	"qtool/internal/printable"
)

// Base identifies the model that an adapter was trained on.
type Base struct {
	Architecture string `json:"architecture"`
	Name         string `json:"name"`
	FileType     int    `json:"file_type"` // llama.cpp's number, -1 if the file does not say
	SHA256       string `json:"sha256"`    // of the tensors in file order: name, type, shape, data; in hexadecimal
}

// String tells a base by its name and the beginning of its hash.
func (b Base) String() string {
	s := fmt.Sprintf("%s (%s", printable.Quote(cmp.Or(b.Name, "a model without a name")), printable.Text(cmp.Or(b.Architecture, "architecture unknown")))
	if b.SHA256 != "" {
		s += fmt.Sprintf(", tensors %.8s", printable.Text(b.SHA256))
	}
	return s + ")"
}

// describeBase is what the metadata of m say.
func describeBase(m gguf.Model) Base {
	md := m.Metadata()
	b := Base{FileType: -1}
	b.Architecture, _ = md.Str(arch.KeyArchitecture)
	b.Name, _ = md.Str("general.name")
	if n, err := md.Int("general.file_type"); err == nil {
		b.FileType = n
	}
	return b
}

// Identify reads all tensor data of m. progress, unless nil, gets the bytes read
// so far.
func Identify(ctx context.Context, m gguf.Model, progress func(done int64)) (Base, error) {
	b := describeBase(m)
	hash := sha256.New()
	chunk := make([]byte, 1<<20)
	var done int64
	for _, t := range m.Tensors() {
		fmt.Fprintf(hash, "%s %v %v\n", t.Name, t.Type, t.Shape)
		r := io.NewSectionReader(t.Data, 0, t.Size())
		for {
			if err := ctx.Err(); err != nil {
				return Base{}, err
			}
			n, err := r.Read(chunk)
			hash.Write(chunk[:n])
			done += int64(n)
			if progress != nil {
				progress(done)
			}
			if err == io.EOF {
				break
			}
			if err != nil {
				return Base{}, fmt.Errorf("reading tensor %q of the base: %w", t.Name, err)
			}
		}
		t.DontNeed()
	}
	b.SHA256 = hex.EncodeToString(hash.Sum(nil))
	return b, nil
}

// Record sets the keys qtool.base.* of an adapter's metadata.
func (b Base) Record(extra *gguf.Metadata) {
	extra.Set("qtool.base.architecture", b.Architecture)
	extra.Set("qtool.base.name", b.Name)
	extra.Set("qtool.base.sha256", b.SHA256)
	if b.FileType >= 0 {
		extra.Set("qtool.base.file_type", uint32(b.FileType))
	}
}

// Recorded is the base that an adapter's metadata say it was trained on; not ok if they say
// nothing of it.
func Recorded(extra *gguf.Metadata) (b Base, ok bool) {
	if extra == nil {
		return b, false
	}
	b.Architecture, _ = extra.Str("qtool.base.architecture")
	b.Name, _ = extra.Str("qtool.base.name")
	b.SHA256, _ = extra.Str("qtool.base.sha256")
	b.FileType = -1
	if n, err := extra.Int("qtool.base.file_type"); err == nil {
		b.FileType = n
	}
	return b, b.SHA256 != "" || b.Name != "" || b.Architecture != ""
}

// Relation says how near the model at hand is to one that an adapter was trained on.
type Relation int

const (
	SameBase   Relation = iota // the same tensors, bit for bit
	SameModel                  // the same model, as far as names tell, but other bits: another quantization
	OtherModel                 // a model of another name or architecture
)

// RelationTo compares b, the model at hand, with a recorded one. Where either has no name,
// models of one architecture count as the same.
func (b Base) RelationTo(recorded Base) Relation {
	switch {
	case b.SHA256 == recorded.SHA256 && b.SHA256 != "":
		return SameBase
	case recorded.Architecture != "" && b.Architecture != recorded.Architecture:
		return OtherModel
	case recorded.Name != "" && b.Name != "" && b.Name != recorded.Name:
		return OtherModel
	}
	return SameModel
}
