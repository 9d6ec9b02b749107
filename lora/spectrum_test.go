package lora_test

import (
	"context"
	"math"
	"slices"
	"testing"

	"gonum.org/v1/gonum/mat"

	"qtool/fixtures"
	"qtool/gguf"
	"qtool/lora"
	"qtool/quantize"
)

func spectraOf(t *testing.T, a *lora.Adapter, base gguf.Model) []lora.Spectrum {
	t.Helper()
	spectra, err := lora.Spectra(context.Background(), a, base, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	return spectra
}

// TestSingularValuesAreThoseOfTheWholeChange compares with the decomposition of B·A itself.
func TestSingularValuesAreThoseOfTheWholeChange(t *testing.T) {
	for _, base := range []gguf.Model{fixtures.TinyLlama(1, fixtures.Shape{Untied: true}), fixtures.TinyLlama(1, fixtures.Shape{Experts: 4}), fixtures.TinyFamily(1, "deepseek2")} {
		for _, rank := range []int{1, 3, 40} { // 40 is more than some weights are wide
			a := adapterOn(t, base, rank, 1)
			for i, s := range spectraOf(t, a, base) {
				w, _ := base.Tensor(a.Pairs[i].Tensor)
				weights, err := quantize.Decode(w)
				if err != nil {
					t.Fatal(err)
				}
				sum := expected(t, w, a.Pairs[i], float64(a.Scale(rank)))
				per := w.Shape[0] * w.Shape[1]
				parts := s.Experts
				if parts == nil {
					parts = [][]float64{s.Values}
				}
				squares, of := 0.0, 0.0
				for k := range sum {
					of += float64(weights[k]) * float64(weights[k])
					sum[k] -= float64(weights[k])
					squares += sum[k] * sum[k]
				}
				if len(parts) != len(sum)/per {
					t.Fatalf("%s: %d matrices", s.Tensor, len(parts))
				}
				for m, got := range parts {
					var svd mat.SVD
					if !svd.Factorize(mat.NewDense(w.Shape[1], w.Shape[0], sum[m*per:][:per]), mat.SVDNone) {
						t.Fatal("no singular values")
					}
					want := svd.Values(nil)
					for k, v := range want {
						g := 0.0
						if k < len(got) {
							g = got[k]
						}
						if math.Abs(g-v) > 1e-6*want[0] {
							t.Fatalf("%s: matrix %d: singular value %d is %g, expected %g", s.Tensor, m, k, g, v)
						}
					}
				}
				if math.Abs(s.Norm-math.Sqrt(squares)) > 1e-6*s.Norm || math.Abs(s.Relative-math.Sqrt(squares/of)) > 1e-6*s.Relative {
					t.Errorf("%s: norm %g and %g, expected %g and %g", s.Tensor, s.Norm, s.Relative, math.Sqrt(squares), math.Sqrt(squares/of))
				}
			}
		}
	}
}

func TestTheEffectiveRankCountsDirections(t *testing.T) {
	const n, rank = 8, 4
	pair := func(sizes ...float32) *lora.Adapter {
		p := lora.Pair{Tensor: "blk.0.attn_q.weight", A: lora.Half{Shape: []int{n, rank}, Values: make([]float32, n*rank)}, B: lora.Half{Shape: []int{rank, n}, Values: make([]float32, rank*n)}}
		for r, size := range sizes {
			p.A.Values[r*n+r], p.B.Values[r*rank+r] = 2, size/2
		}
		return &lora.Adapter{Architecture: "llama", Alpha: -rank, Pairs: []lora.Pair{p}}
	}
	for _, c := range []struct {
		sizes     []float32
		effective float64
		rank95    int
	}{
		{[]float32{3, 3, 3, 3}, 4, 4}, {[]float32{5}, 1, 1}, {[]float32{2, 2}, 2, 2}, {[]float32{0}, 0, 0},
		{[]float32{9, 1}, math.Exp(-0.9*math.Log(0.9) - 0.1*math.Log(0.1)), 1},
	} {
		s := spectraOf(t, pair(c.sizes...), nil)[0]
		if math.Abs(s.EffectiveRank-c.effective) > 1e-9 || s.Rank95 != c.rank95 || s.Relative != 0 || s.Scale != -1 {
			t.Errorf("%v: %+v", c.sizes, s)
		}
		if want := float64(c.sizes[0]); math.Abs(slices.Max(s.Values)-want) > 1e-9 || s.Norm < want-1e-9 {
			t.Errorf("%v: %+v", c.sizes, s)
		}
	}
}

func TestSpectraDoNotDependOnThreadsAndStopWithTheirContext(t *testing.T) {
	base := fixtures.TinyLlama(1, fixtures.Shape{Experts: 4})
	a := adapterOn(t, base, 3, 1)
	one := spectraOf(t, a, base)
	done := 0
	three, err := lora.Spectra(context.Background(), a, base, 3, func(n, total int) { done = total - n })
	if err != nil || done != 0 {
		t.Fatal(done, err)
	}
	for i := range one {
		if one[i].Norm != three[i].Norm || one[i].Relative != three[i].Relative {
			t.Errorf("%s: %v and %v", one[i].Tensor, one[i], three[i])
		}
	}
	ended, end := context.WithCancel(context.Background())
	end()
	if _, err := lora.Spectra(ended, a, nil, 1, nil); err == nil {
		t.Error("it went on")
	}
}

func TestSpectraRefuseABaseThatDoesNotFit(t *testing.T) {
	a := adapterOn(t, fixtures.TinyLlama(1, fixtures.Shape{}), 2, 1)
	if _, err := lora.Spectra(context.Background(), a, fixtures.TinyLlama(1, fixtures.Shape{Dim: 64}), 1, nil); err == nil {
		t.Error("a base of another width is taken")
	}
}
