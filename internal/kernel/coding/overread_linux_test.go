package coding_test

import (
	"math/rand/v2"
	"testing"

	"qtool/gguf"
	"qtool/internal/kernel/coding"
	"qtool/internal/kernel/kerneltest"
	"qtool/internal/kernel/simd"
	"qtool/quantize"
)

func TestEncodersStayInsideRowsThatEndWhereMemoryDoes(t *testing.T) {
	rng := rand.New(rand.NewPCG(27, 28))
	for _, tier := range simd.Names() {
		undo, err := simd.Use(tier)
		if err != nil {
			t.Fatal(err)
		}
		defer undo()
		for typ := range gguf.Type(64) {
			codec, err := quantize.LookupEncoder(typ)
			if err != nil {
				continue
			}
			for _, blocks := range []int{1, 3, 19} {
				x := kerneltest.FloatsBeforeForbiddenPage(t, blocks*typ.BlockElements())
				importance := kerneltest.FloatsBeforeForbiddenPage(t, len(x))
				for i := range x {
					x[i], importance[i] = float32(rng.NormFloat64()), float32(rng.ExpFloat64())
				}
				out := kerneltest.BeforeForbiddenPage(t, make([]byte, blocks*typ.BlockBytes()))
				codec.EncodeRow(out, x, nil)
				codec.EncodeRow(out, x, importance)
				coding.Magnitude(x)
			}
		}
	}
}
