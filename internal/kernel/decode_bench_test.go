package kernel_test

import (
	"math/rand/v2"
	"testing"

	"qtool/internal/kernel"
)

// BenchmarkDecoders decodes rows that stay in the cache, as products and MatVec do.
func BenchmarkDecoders(b *testing.B) {
	const rows, cols = 16, 4096
	p := kernel.NewPool(1)
	defer p.Close()
	for _, tier := range kernel.Tiers() {
		undo, err := kernel.UseTier(tier)
		if err != nil {
			b.Fatal(err)
		}
		for _, typ := range decodedTypes() {
			codec := codecOf(b, typ)
			data := randomRows(rand.New(rand.NewPCG(23, 24)), typ, rows, cols, true)
			all := kernel.EncodedMatrix(data, rows, cols, len(data)/rows, codec.DecodeRow).OfType(typ)
			m := all.Slice(0, 1)
			row, rounded, y := make([]float32, cols), make([]uint16, cols), make([]float32, rows)
			run := func(output string, rows int, f func()) {
				b.Run(tier+"/"+typ.String()+"/"+output, func(b *testing.B) {
					for b.Loop() {
						f()
					}
					b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(rows*cols), "ns/weight")
				})
			}
			run("float32", 1, func() { m.Row(0, row) })
			if _, bf16 := kernel.HasDecoder(m); bf16 {
				run("bf16", 1, func() { kernel.PartBF16(m, rounded, 0, 0, cols) })
			}
			run("dot", rows, func() { kernel.MatVec(p, y, row, all) })
		}
		undo()
	}
}
