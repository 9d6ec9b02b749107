package quantize_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"qtool/gguf"
	"qtool/internal/sharedtest"
	"qtool/quantize"
)

// readerOnly hides the view that gguf.Memory offers.
type readerOnly struct{ io.ReaderAt }

// written is what writing a tensor gives.
func written(t *testing.T, tensor *gguf.Tensor, threads int) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := gguf.Write(t.Context(), &b, gguf.Assemble(&gguf.Metadata{}, []*gguf.Tensor{tensor}), gguf.WithThreads(threads)); err != nil {
		t.Fatalf("%s: %v", tensor.Name, err)
	}
	data := b.Bytes()
	return data[int64(len(data))-(tensor.Size()+31)/32*32:][:tensor.Size()]
}

func TestWorkersDoNotChangeTheBytes(t *testing.T) {
	shapes := [][]int{{32, 1}, {64, 3}, {1024, 641}, {4096, 131}, {1 << 17, 3}, {256, 101, 5}, {96, 7001}}
	for _, shape := range shapes {
		src := tensorOf("blk.0.ffn_up.weight", gguf.BF16, shape...)
		values := make([]float32, src.Elements())
		raw, _ := src.Bytes()
		bf16, _ := quantize.Lookup(gguf.BF16)
		bf16.DecodeRow(values, raw)
		codec, _ := quantize.Lookup(gguf.Q5_0)
		var want []byte
		for row := range slices.Chunk(values, shape[0]) {
			b := make([]byte, shape[0]/32*22)
			codec.EncodeRow(b, row, nil)
			want = append(want, b...)
		}
		hidden := *src
		hidden.Data = readerOnly{src.Data}
		for _, source := range []*gguf.Tensor{src, &hidden} {
			for _, threads := range []int{1, 2, 5} {
				m := gguf.Assemble(&gguf.Metadata{}, []*gguf.Tensor{source})
				p := planOf(t, m, quantize.Options{FileType: "Q5_0", Pure: true})
				if shape[1] == 1 {
					continue // a vector, which stays
				}
				if got := written(t, p.Model().Tensors()[0], threads); !bytes.Equal(got, want) {
					t.Errorf("shape %v on %d threads differs from row by row", shape, threads)
				}
			}
		}
	}
}

func TestEveryPartReadsAsThatPartOfTheWhole(t *testing.T) {
	for _, tensor := range planOf(t, smallModel(), quantize.Options{FileType: "Q4_0"}).Model().Tensors() {
		whole := written(t, tensor, 0)
		for off := 0; off <= len(whole)+3; off += 1 + len(whole)/13 {
			for _, n := range []int{0, 1, 17, 500, len(whole)} {
				p := make([]byte, n)
				got, err := tensor.Data.ReadAt(p, int64(off))
				want := whole[min(off, len(whole)):min(off+n, len(whole))]
				if !bytes.Equal(p[:got], want) || (err == io.EOF) != (off+n > len(whole)) {
					t.Fatalf("%s: %d bytes at %d gave %d bytes, %v", tensor.Name, n, off, got, err)
				}
			}
		}
	}
}

func TestImportanceOfEachExpertIsItsOwn(t *testing.T) {
	src := tensorOf("blk.0.ffn_up_exps.weight", gguf.F32, 64, 3, 2)
	importance := make([]float32, 128)
	for i := range importance {
		importance[i] = float32(1 + i*i%11)
	}
	p := planOf(t, gguf.Assemble(&gguf.Metadata{}, []*gguf.Tensor{src}), quantize.Options{
		FileType: "Q4_0", Importance: quantize.ImportanceMap{src.Name: importance},
	})
	got := written(t, p.Model().Tensors()[0], 0)
	codec, _ := quantize.Lookup(gguf.Q4_0)
	want := make([]byte, 36)
	for row, values := range slices.Collect(slices.Chunk(gaussian(384), 64)) {
		codec.EncodeRow(want, values, importance[row/3*64:row/3*64+64])
		if !bytes.Equal(got[36*row:36*row+36], want) {
			t.Errorf("row %d is not encoded with the importance of expert %d", row, row/3)
		}
	}
}

func TestWeightsThatAreNotFiniteAreRefusedAndNoFileIsLeft(t *testing.T) {
	for _, c := range []struct {
		name     string
		value    float64
		fileType string
		want     []string
	}{
		{"NaN", math.NaN(), "Q8_0", []string{"blk.2.attn_q.weight", "row 5", "column 17", "NaN"}},
		{"infinity", math.Inf(-1), "Q4_0", []string{"row 5", "column 17", "-Inf"}},
		{"NaN in a tensor that stays", math.NaN(), "F32", []string{"row 5", "column 17"}},
		{"too large for F16", 1e6, "F16", []string{"row 5", "1e+06", "BF16"}},
		{"too large for a scale", 1e8, "Q8_0", []string{"row 5", "Q8_0"}},
		{"too large for a scale of scales", 4e8, "IQ4_XS", []string{"row 5", "IQ4_XS"}},
		{"too large for the sums of a search", 1e20, "Q4_K_S", []string{"row 5", "column 17", "1e+20", "Q4_K"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			bad := tensorOf("blk.2.attn_q.weight", gguf.F32, 256, 7)
			binary.LittleEndian.PutUint32(bad.Data.(gguf.Memory)[4*(5*256+17):], math.Float32bits(float32(c.value)))
			m := gguf.Assemble(&gguf.Metadata{}, []*gguf.Tensor{tensorOf("output.weight", gguf.F32, 256, 4), bad})
			dir := t.TempDir()
			p := planOf(t, m, quantize.Options{FileType: c.fileType})
			err := gguf.WriteFile(context.Background(), filepath.Join(dir, "out.gguf"), p.Model())
			if !errors.Is(err, quantize.ErrInvalidWeights) {
				t.Fatalf("got %v", err)
			}
			for _, part := range c.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not mention %s", err, part)
				}
			}
			if left, _ := os.ReadDir(dir); len(left) > 0 {
				t.Errorf("%s is left behind", left[0].Name())
			}
		})
	}
}

// Weights of BF16 are encoded as they are stored, unless some are large.
func TestLargeWeightsOfBF16AreConvertedOrRefused(t *testing.T) {
	const columns, rows, at = 256, 7, 5*256 + 17
	for _, typ := range []gguf.Type{gguf.BF16, gguf.F16, gguf.Q4_0, gguf.Q4_1, gguf.Q5_0, gguf.Q5_1, gguf.Q8_0} {
		codec := lookup(t, typ.String())
		size, _ := typ.RowSize(columns * rows)
		for _, c := range []struct {
			bits    uint16
			refused bool
		}{
			{0x4680, false}, // 2^14
			{0xc700, false}, // -2^15
			{0x477f, false}, // 65280
			{0x4f00, typ != gguf.BF16},
			{0x7f80, true},
			{0xffc0, true},
		} {
			src := tensorOf("blk.0.ffn_up.weight", gguf.BF16, columns, rows)
			raw := src.Data.(gguf.Memory)
			binary.LittleEndian.PutUint16(raw[2*at:], c.bits)
			values := make([]float32, columns*rows)
			lookup(t, "BF16").DecodeRow(values, raw)
			want := make([]byte, size)
			codec.EncodeRow(want, values, nil)
			converted, err := quantize.Convert(src, typ, nil)
			if err != nil {
				t.Fatal(err)
			}
			got, err := converted.Bytes()
			if c.refused != errors.Is(err, quantize.ErrInvalidWeights) || !c.refused && !bytes.Equal(got, want) {
				t.Errorf("%v with %#04x: error %v, the bytes differ: %v", typ, c.bits, err, !bytes.Equal(got, want))
			}
		}
	}
}

// failingWriter accepts a number of writes.
type failingWriter struct{ left int }

var errFull = errors.New("disk full")

func (w *failingWriter) Write(p []byte) (int, error) {
	if w.left--; w.left < 0 {
		return 0, errFull
	}
	return len(p), nil
}

func TestAFailedWriteStopsTheWork(t *testing.T) {
	m := gguf.Assemble(&gguf.Metadata{}, []*gguf.Tensor{tensorOf("output.weight", gguf.F32, 1024, 4000)})
	p := planOf(t, m, quantize.Options{FileType: "Q8_0"})
	if err := gguf.Write(t.Context(), &failingWriter{left: 2}, p.Model(), gguf.WithThreads(2)); !errors.Is(err, errFull) {
		t.Errorf("got %v", err)
	}
}

func TestIntegersPassAsTheyAreAndUnknownTypesAreRefused(t *testing.T) {
	content := gguf.Memory("bytes of a type from the future.")
	numbers := &gguf.Tensor{Name: "b.weight", Type: gguf.I32, Shape: []int{4, 2}, Data: content}
	m := gguf.Assemble(&gguf.Metadata{}, []*gguf.Tensor{numbers})
	for _, tensor := range planOf(t, m, quantize.Options{FileType: "Q8_0"}).Model().Tensors() {
		if b, err := tensor.Bytes(); err != nil || !bytes.Equal(b, content) {
			t.Errorf("%s became %q, %v", tensor.Name, b, err)
		}
	}
	strange := &gguf.Tensor{Name: "a.weight", Type: gguf.Type(99), Shape: []int{4, 2}, Data: content, RawSize: int64(len(content))}
	m = gguf.Assemble(&gguf.Metadata{}, []*gguf.Tensor{strange, numbers})
	if _, err := quantize.NewPlan(m, quantize.Options{FileType: "Q8_0"}); !errors.Is(err, quantize.ErrUnsupported) {
		t.Errorf("a tensor of type 99: %v", err)
	}
}

func TestARealModelGoesToEveryFileTypeAndBack(t *testing.T) {
	f, err := gguf.Open(sharedtest.Path(t, "data/stories260k/stories260K.gguf"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	importance := quantize.ImportanceMap{}
	for _, tensor := range f.Tensors() {
		importance[tensor.Name] = gaussianSquares(tensor.Shape[0])
	}
	for _, name := range quantize.FileTypes() {
		path := filepath.Join(t.TempDir(), "out.gguf")
		p := planOf(t, f, quantize.Options{FileType: name, Importance: importance})
		if err := gguf.WriteFile(context.Background(), path, p.Model()); err != nil {
			t.Fatal(err)
		}
		back, err := gguf.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer back.Close()
		for i, tensor := range back.Tensors() {
			pt := p.Tensors[i]
			if tensor.Name != pt.Name || tensor.Type != pt.To || tensor.Size() != pt.ToBytes {
				t.Errorf("%s: tensor %d is %s %v of %d bytes, planned %+v", name, i, tensor.Name, tensor.Type, tensor.Size(), pt)
			}
		}
	}
}
