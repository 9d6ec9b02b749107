package lora

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"

	"qtool/gguf"
	"qtool/internal/arch"
)

// Base identifies the model that an adapter was trained on.
type Base struct {
	Architecture string
	Name         string
	FileType     int    // llama.cpp's number, -1 if the file does not say
	SHA256       string // of the tensors in file order: name, type, shape, data; in hexadecimal
}

// Identify reads all tensor data of m. progress, unless nil, gets the bytes read
// so far.
func Identify(ctx context.Context, m gguf.Model, progress func(done int64)) (Base, error) {
	md := m.Metadata()
	b := Base{FileType: -1}
	b.Architecture, _ = md.Str(arch.KeyArchitecture)
	b.Name, _ = md.Str("general.name")
	if n, err := md.Int("general.file_type"); err == nil {
		b.FileType = n
	}
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
