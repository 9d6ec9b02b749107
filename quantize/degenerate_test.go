package quantize_test

import (
	"math"
	"testing"

	"qtool/gguf"
	"qtool/quantize"
)

// Experts that no token was routed to, and columns that are always zero, have importance
// that tells nothing; some weights are all the same, or barely numbers.
func TestWeightsAndImportanceThatTellNothingAreEncoded(t *testing.T) {
	const n = 512
	fill := func(f func(i int) float32) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = f(i)
		}
		return v
	}
	random := gaussian(n)
	rows := map[string][]float32{
		"zeros": make([]float32, n), "random": random,
		"ones":       fill(func(int) float32 { return 1 }),
		"one":        fill(func(i int) float32 { return float32(max(0, 1-i)) }),
		"denormal":   fill(func(i int) float32 { return math.Float32frombits(uint32(i)) }),
		"minute":     fill(func(i int) float32 { return random[i] * 1e-30 }),
		"large":      fill(func(i int) float32 { return random[i] * 1e4 }),
		"half zeros": fill(func(i int) float32 { return random[i] * float32(i/32%2) }),
	}
	weights := map[string][]float32{
		"none": nil, "zeros": make([]float32, n), "ones": rows["ones"], "one": rows["one"], "denormal": rows["denormal"],
		"minute": fill(func(i int) float32 { return random[i] * random[i] * 1e-35 }),
		"large":  fill(func(i int) float32 { return random[i] * random[i] * 1e20 }),
	}
	for typ := gguf.Type(0); typ < 64; typ++ {
		codec, err := quantize.LookupEncoder(typ)
		if err != nil {
			continue
		}
		size, _ := typ.RowSize(n)
		b, back := make([]byte, size), make([]float32, n)
		for rowName, row := range rows {
			for weightName, w := range weights {
				codec.EncodeRow(b, row, w)
				codec.DecodeRow(back, b)
				for i, v := range back {
					if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
						t.Errorf("%v of %s, importance %s: value %d, %g, became %g", typ, rowName, weightName, i, row[i], v)
						break
					}
				}
			}
		}
	}
}
