package product

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"qtool/internal/kernel/kerneltest"
)

func BenchmarkProducts(b *testing.B) {
	p := NewPool(0)
	defer p.Close()
	rng := rand.New(rand.NewPCG(1, 2))
	for _, s := range [][3]int{{256, 4864, 896}, {256, 896, 4864}, {256, 16, 896}, {256, 4864, 16}, {1, 4864, 896}, {16, 4864, 896}} {
		tokens, rows, cols := s[0], s[1], s[2]
		x, y := kerneltest.Random(rng, tokens*cols), kerneltest.Random(rng, tokens*rows)
		w := Float32Matrix(kerneltest.Random(rng, rows*cols), rows, cols)
		run := func(name string, f func()) {
			b.Run(fmt.Sprintf("%s/%dx%dx%d", name, tokens, rows, cols), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					f()
				}
				b.ReportMetric(2*float64(tokens*rows*cols)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
			})
		}
		run("Forward", func() { Forward(p, y, x, tokens, w) })
		run("Backward", func() { Backward(p, x, y, tokens, w) })
		dw := make([]float32, rows*cols)
		run("AddOuter", func() { AddOuter(p, dw, y, x, tokens, rows, cols) })
	}
}
