package kernel_test

import (
	"math/rand/v2"
	"testing"

	"qtool/internal/kernel"
)

// BenchmarkDecoders decodes rows that stay in the cache, as products and MatVec do.
func BenchmarkDecoders(b *testing.B) {
	const cols = 4096
	p := kernel.NewPool(1)
	defer p.Close()
	for _, tier := range kernel.Tiers() {
		undo, err := kernel.UseTier(tier)
		if err != nil {
			b.Fatal(err)
		}
		for _, name := range kernel.Formats() {
			typ, codec := codecOf(b, name)
			data := randomRows(rand.New(rand.NewPCG(23, 24)), typ, 1, cols, true)
			m := kernel.EncodedMatrix(data, 1, cols, len(data), codec.DecodeRow).OfType(name)
			row, rounded, y := make([]float32, cols), make([]uint16, cols), make([]float32, 1)
			run := func(output string, f func()) {
				b.Run(tier+"/"+name+"/"+output, func(b *testing.B) {
					for b.Loop() {
						f()
					}
					b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/cols, "ns/weight")
				})
			}
			run("float32", func() { m.Row(0, row) })
			if _, bf16 := kernel.HasDecoder(m); bf16 {
				run("bf16", func() { kernel.PartBF16(m, rounded, 0, 0, cols) })
			}
			run("dot", func() { kernel.MatVec(p, y, row, m) })
		}
		undo()
	}
}
