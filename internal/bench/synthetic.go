package bench

import (
	"context"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"

	"qtool/fixtures"
	"qtool/gguf"
	"qtool/internal/model"
	"qtool/quantize"
)

// synthetic is a model of the given shape and file type, as quantizing a float
// model would make it. Its rows repeat: few are encoded, so that models larger
// than memory cost nothing to make.
func synthetic(shape fixtures.Shape, fileType string) (gguf.Model, error) {
	source := shape.Build(func(name string, shape []int) *gguf.Tensor {
		return &gguf.Tensor{Name: name, Type: gguf.F32, Shape: shape, Data: gguf.Memory(nil)}
	})
	plan, err := quantize.NewPlan(source, quantize.Options{FileType: fileType})
	if err != nil {
		return nil, err
	}
	rng := rand.New(rand.NewPCG(1, 2))
	pieces := map[string][]byte{}
	var tensors []*gguf.Tensor
	for _, p := range plan.Tensors {
		key := fmt.Sprint(p.To, p.Shape[0], len(p.Shape))
		if pieces[key] == nil {
			if pieces[key], err = encodedRows(rng, p); err != nil {
				return nil, err
			}
		}
		t := &gguf.Tensor{Name: p.Name, Type: p.To, Shape: p.Shape}
		t.Data = repeated{pieces[key], t.Size()}
		tensors = append(tensors, t)
	}
	return gguf.Assemble(plan.Model().Metadata(), tensors), nil
}

// mapped is a synthetic model in a temporary file, mapped as a user's model is.
type mapped struct {
	folder  string
	file    *gguf.File
	decoder *model.Decoder
}

func mapSynthetic(ctx context.Context, shape fixtures.Shape, fileType string) (m *mapped, err error) {
	source, err := synthetic(shape, fileType)
	if err != nil {
		return nil, err
	}
	m = &mapped{}
	if m.folder, err = os.MkdirTemp("", "qtool-bench-"); err != nil {
		return nil, fmt.Errorf("making a folder for the model: %w", err)
	}
	defer func() {
		if err != nil {
			m.Close()
		}
	}()
	path := filepath.Join(m.folder, "model.gguf")
	if err := gguf.WriteFile(ctx, path, source); err != nil {
		return nil, err
	}
	evict(path)
	if m.file, err = gguf.Open(path); err != nil {
		return nil, err
	}
	m.decoder, err = model.Load(m.file, model.Options{})
	return m, err
}

// Close removes the file.
func (m *mapped) Close() {
	if m.file != nil {
		m.file.Close()
	}
	os.RemoveAll(m.folder)
}

func (m *mapped) size() (parameters int, bytes int64) {
	for _, t := range m.file.Tensors() {
		parameters += t.Elements()
		bytes += t.Size()
	}
	return parameters, bytes
}

// encodedRows is a few rows of p: random with deviation 1/sqrt(row length), or
// ones for a norm.
func encodedRows(rng *rand.Rand, p quantize.PlannedTensor) ([]byte, error) {
	codec, err := quantize.LookupEncoder(p.To)
	if err != nil {
		return nil, err
	}
	stride, err := p.To.RowSize(p.Shape[0])
	if err != nil {
		return nil, err
	}
	const rows = 16
	out := make([]byte, rows*stride)
	row := make([]float32, p.Shape[0])
	for r := range rows {
		for i := range row {
			row[i] = 1
			if len(p.Shape) > 1 {
				row[i] = float32(rng.NormFloat64() / math.Sqrt(float64(len(row))))
			}
		}
		codec.EncodeRow(out[int64(r)*stride:int64(r+1)*stride], row, nil)
	}
	return out, nil
}

// repeated is size bytes of piece after piece.
type repeated struct {
	piece []byte
	size  int64
}

// ReadAt implements io.ReaderAt.
func (r repeated) ReadAt(p []byte, off int64) (int, error) {
	n := 0
	for n < len(p) && off < r.size {
		from := off % int64(len(r.piece))
		c := copy(p[n:], r.piece[from:min(int64(len(r.piece)), from+r.size-off)])
		n, off = n+c, off+int64(c)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}
