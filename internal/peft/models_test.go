package peft

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"qtool/fixtures"
	"qtool/gguf"
	"qtool/internal/convert"
	"qtool/internal/kernel/product"
	"qtool/internal/model"
	"qtool/internal/nn"
	"qtool/quantize"
)

// opened is a folder of fixtures, written and converted.
func opened(t *testing.T, f *fixtures.Folder, maxShardBytes int64) *convert.Model {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tiny-"+strings.ToLower(f.Architecture))
	if err := os.Mkdir(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := f.Write(context.Background(), dir, maxShardBytes); err != nil {
		t.Fatal(err)
	}
	m, err := convert.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func values(t *testing.T, m gguf.Model, name string) []float32 {
	t.Helper()
	x, ok := m.Tensor(name)
	if !ok {
		t.Fatalf("no tensor %s", name)
	}
	v, err := quantize.Decode(x)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func elements(shape []int) int { return (&gguf.Tensor{Shape: shape}).Elements() }

func logitsOf(t *testing.T, m gguf.Model) []float32 {
	t.Helper()
	d, err := model.Load(m, model.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return decoderLogits(d)
}

func decoderLogits(d *model.Decoder) []float32 {
	p := product.NewPool(1)
	defer p.Close()
	tape := nn.NewTape(p)
	ids := []int32{5, 9, 33, 2, 60, 7, 7, 1, 12, 48, 3, 3, 17, 21, 40, 8, 9, 63, 31, 30, 6}
	return slices.Clone(d.Logits(tape, d.Hidden(tape, model.NewBatch(ids, []int{0}), nil, false)).Data)
}

func isMarked(err error) bool {
	return errors.Is(err, ErrMismatch) || errors.Is(err, ErrInvalid) || errors.Is(err, ErrUnsupported) || errors.Is(err, convert.ErrInvalid) || errors.Is(err, convert.ErrUnsupported)
}
