package coding_test

import (
	"math/rand/v2"
	"testing"

	"qtool/internal/kernel/coding"
	"qtool/internal/kernel/kerneltest"
	"qtool/internal/kernel/simd"
)

// BenchmarkDecoders decodes rows that stay in the cache, as products and MatVec do.
func BenchmarkDecoders(b *testing.B) {
	const rows, cols = 16, 4096
	for _, tier := range simd.Available() {
		for _, typ := range kerneltest.DecodedTypes() {
			d := &coding.Decoders(tier)[typ]
			if d.Float32 == nil {
				continue
			}
			data := kerneltest.Rows(rand.New(rand.NewPCG(23, 24)), typ, rows, cols, true)
			row, rounded, y := make([]float32, cols), make([]uint16, cols), make([]float32, rows)
			run := func(output string, rows int, f func()) {
				b.Run(tier.String()+"/"+typ.String()+"/"+output, func(b *testing.B) {
					for b.Loop() {
						f()
					}
					b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(rows*cols), "ns/weight")
				})
			}
			run("float32", 1, func() { d.Float32(&row[0], &data[0], cols/d.Elements, 1, 0, 0) })
			if d.BF16 != nil {
				run("bf16", 1, func() { d.BF16(&rounded[0], &data[0], cols/d.Elements, 1, 0, 0) })
			}
			run("dot", rows, func() { d.Dot(&row[0], &data[0], cols/d.Elements, rows, &y[0]) })
		}
	}
}
