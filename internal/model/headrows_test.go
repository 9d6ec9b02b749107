package model

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"qtool/fixtures"
	"qtool/gguf"
	"qtool/internal/kernel/product"
	"qtool/internal/nn"
	"qtool/quantize"
)

// headOf is a decoder of a file type whose head of its own was changed before.
func headOf(t *testing.T, fileType string, change func(row func(token int) []float32)) *Decoder {
	t.Helper()
	m := gguf.Model(fixtures.TinyLlama(1, fixtures.Shape{Untied: true}))
	var tensors []*gguf.Tensor
	for _, tensor := range m.Tensors() {
		if tensor.Name == "output.weight" {
			b, err := tensor.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			values := slices.Clone(gguf.DecodeFloat32(b))
			cols := tensor.Shape[0]
			change(func(token int) []float32 { return values[token*cols : (token+1)*cols] })
			tensor = gguf.Float32Tensor(tensor.Name, tensor.Shape, values)
		}
		tensors = append(tensors, tensor)
	}
	m = gguf.Assemble(m.Metadata(), tensors, m.(gguf.Source))
	if fileType != "" {
		plan, err := quantize.NewPlan(m, quantize.Options{FileType: fileType})
		if err != nil {
			t.Fatal(err)
		}
		m = plan.Model()
	}
	d, err := Load(m, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func likeRows(t *testing.T, d *Decoder, tokens ...int32) []LikeRow {
	t.Helper()
	pool := product.NewPool(3)
	defer pool.Close()
	found, err := d.LikeRows(context.Background(), pool, tokens)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestTokensThatNoLogitSetsApartAreFoundInEveryType(t *testing.T) {
	for _, fileType := range []string{"", "BF16", "Q8_0", "Q4_0"} {
		d := headOf(t, fileType, func(row func(int) []float32) {
			clear(row(5))
			clear(row(60))
			row(60)[3] = 1e-5 // as good as 0
			for _, token := range []int{9, 11} {
				copy(row(token), row(2))
				row(token)[token] *= 1.001 // untrained rows are not always quite equal
			}
		})
		want := []LikeRow{{Token: 9, Other: 2, Like: 2}, {Token: 2, Other: 9, Like: 2}, {Token: 5, Zero: true, Other: 60, Like: 1}}
		if diff := cmp.Diff(want, likeRows(t, d, 9, 3, 2, 5, 7)); diff != "" {
			t.Errorf("%s: %s", fileType, diff)
		}
	}
}

func TestAZeroRowIsFoundWhereNoOtherIsLikeIt(t *testing.T) {
	d := headOf(t, "", func(row func(int) []float32) { clear(row(5)) })
	if diff := cmp.Diff([]LikeRow{{Token: 5, Zero: true, Other: -1}}, likeRows(t, d, 4, 5)); diff != "" {
		t.Error(diff)
	}
}

func TestAHeadThatIsTrainedSetsAllTokensApart(t *testing.T) {
	d := headOf(t, "", func(row func(int) []float32) { clear(row(5)) })
	d.head.Pair = &nn.LoRAPair{}
	if found := likeRows(t, d, 5); found != nil {
		t.Error(found)
	}
}

func TestTheRowsOfALargeHeadAreComparedInSeconds(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a second")
	}
	const rows, cols = 150000, 1024
	data := make([]byte, rows*cols/32*34) // Q8_0: all rows are zero, and so all are compared
	for i := 0; i < len(data); i += 34 {
		data[i+1] = 0x3c // a scale of 1
	}
	codec, err := quantize.Lookup(gguf.Q8_0)
	if err != nil {
		t.Fatal(err)
	}
	d := &Decoder{head: &nn.Head{Linear: &nn.Linear{Weight: &nn.Weight{Rows: rows, Cols: cols, Experts: 1,
		Expert: []product.Matrix{product.EncodedMatrix(data, rows, cols, cols/32*34, codec.DecodeRow)}}}}}
	start := time.Now()
	found := likeRows(t, d, 7, 8, 9)
	took := time.Since(start)
	t.Logf("%d rows of %d: %v", rows, cols, took)
	if len(found) != 3 || !found[0].Zero || found[0].Like != rows-1 {
		t.Error(found)
	}
	if took > 30*time.Second {
		t.Errorf("it took %v", took)
	}
}
