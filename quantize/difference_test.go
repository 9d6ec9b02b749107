package quantize_test

import (
	"context"
	"math"
	"testing"

	"qtool/gguf"
	"qtool/quantize"
)

func f32(values []float32, shape ...int) *gguf.Tensor {
	return gguf.Float32Tensor("w", shape, values)
}

// compared compares on several numbers of workers, which must make no difference.
func compared(t *testing.T, a, b *gguf.Tensor) (d quantize.Difference) {
	t.Helper()
	for i, workers := range []int{1, 3} {
		pool, told := quantize.NewPool(workers), 0
		got, err := quantize.Compare(context.Background(), a, b, pool, func(n int) { told += n })
		pool.Close()
		if err != nil {
			t.Fatal(err)
		}
		if told != a.Elements() || i > 0 && got != d {
			t.Errorf("%d workers: %+v of %d values, one gives %+v", workers, got, told, d)
		}
		d = got
	}
	return d
}

func TestTheDifferenceOfTensorsFollowsItsDefinition(t *testing.T) {
	nan := float32(math.NaN())
	for _, c := range []struct {
		name string
		a, b []float32
		want quantize.Difference
	}{
		{"equal", []float32{1, -2, 3}, []float32{1, -2, 3}, quantize.Difference{Identical: true, Cosine: 1}},
		{"one off", []float32{3, 4, 0}, []float32{3, 4, 5}, quantize.Difference{MaxError: 5, MaxAt: 2, RMSE: 5 / math.Sqrt(3), Relative: 1, Cosine: 1 / math.Sqrt2}},
		{"opposite", []float32{1, 1, 0}, []float32{-1, -1, 0}, quantize.Difference{MaxError: 2, RMSE: math.Sqrt(8. / 3), Relative: 2, Cosine: -1}},
		{"from zero", []float32{0, 0, 0}, []float32{0, 3, 0}, quantize.Difference{MaxError: 3, MaxAt: 1, RMSE: math.Sqrt(3), Relative: 1}},
		{"negative zero", []float32{0, 0, 0}, []float32{0, float32(math.Copysign(0, -1)), 0}, quantize.Difference{Cosine: 1}},
		{"not a number", []float32{1, nan, 2}, []float32{1, 1, nan}, quantize.Difference{NotFinite: 2, Cosine: 1}},
	} {
		got := compared(t, f32(c.a, 3), f32(c.b, 3))
		if math.Abs(got.RMSE-c.want.RMSE)+math.Abs(got.Relative-c.want.Relative)+math.Abs(got.Cosine-c.want.Cosine) > 1e-12 {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
		got.RMSE, got.Relative, got.Cosine = c.want.RMSE, c.want.Relative, c.want.Cosine
		if got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

func TestTheDifferenceOfTypesIsThatOfTheirValues(t *testing.T) {
	const n = 3<<16 + 512 // several spans, the last one short
	a := tensorOf("w", gguf.F16, 512, n/512)
	values, err := quantize.Decode(a)
	if err != nil {
		t.Fatal(err)
	}
	codec, _ := quantize.Lookup(gguf.Q4_K)
	raw := make([]byte, n/256*144)
	codec.EncodeRow(raw, values, nil)
	b := &gguf.Tensor{Name: "w", Type: gguf.Q4_K, Shape: a.Shape, Data: readerOnly{gguf.Memory(raw)}}
	decoded, err := quantize.Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	squares, largest, at := 0.0, 0.0, 0
	for i, v := range values {
		d := float64(decoded[i]) - float64(v)
		squares += d * d
		if d = math.Abs(d); d > largest {
			largest, at = d, i
		}
	}
	got := compared(t, a, b)
	if want := math.Sqrt(squares / n); math.Abs(got.RMSE-want) > 1e-9*want || got.MaxError != largest || got.MaxAt != at || got.Identical {
		t.Errorf("%+v, want RMSE %g and %g at %d", got, want, largest, at)
	}
}

func TestExaminingFindsTheFirstValueThatIsNotFinite(t *testing.T) {
	const n = 5 << 16
	pool := quantize.NewPool(2)
	defer pool.Close()
	values := make([]float32, n)
	look := func(tensor *gguf.Tensor) quantize.Health {
		t.Helper()
		h, err := quantize.Examine(context.Background(), tensor, pool, func(int) {})
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	if h := look(f32(values, 512, n/512)); h != (quantize.Health{Zero: true}) {
		t.Errorf("zeros: %+v", h)
	}
	values[3<<16] = float32(math.Inf(-1))
	values[n-1] = float32(math.NaN())
	if h := look(f32(values, 512, n/512)); h != (quantize.Health{NotFinite: 2, First: 3 << 16}) {
		t.Errorf("two: %+v", h)
	}
	raw := make([]byte, 2*18)
	raw[18+1] = 0x7c // the scale of the second block is infinite
	if h := look(&gguf.Tensor{Name: "w", Type: gguf.Q4_0, Shape: []int{64}, Data: gguf.Memory(raw)}); h.NotFinite != 32 || h.First != 32 {
		t.Errorf("scale: %+v", h)
	}
}
