package quantize_test

import (
	"io"
	"math/rand/v2"
	"testing"

	"qtool/gguf"
	"qtool/quantize"
)

// benchRow is long enough to leave the first cache and whole in blocks of any type.
const benchRow = 1 << 15

func everyCodec(keep func(*quantize.Codec) bool) (all []*quantize.Codec) {
	for t := range gguf.Type(64) {
		if c, err := quantize.Lookup(t); err == nil && keep(c) {
			all = append(all, c)
		}
	}
	return all
}

func gaussian(n int) []float32 {
	r := rand.New(rand.NewPCG(1, 2))
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.NormFloat64() * 0.02)
	}
	return x
}

// The rates are of float32, 4 bytes for each value.

func BenchmarkDecode(b *testing.B) {
	for _, c := range everyCodec(func(*quantize.Codec) bool { return true }) {
		b.Run(c.Type().String(), func(b *testing.B) {
			size, _ := c.Type().RowSize(benchRow)
			src, dst := make([]byte, size), make([]float32, benchRow)
			for i := range src {
				src[i] = byte(i * 7 & 0x3f) // no exponent of infinity or NaN
			}
			b.SetBytes(4 * benchRow)
			for b.Loop() {
				c.DecodeRow(dst, src)
			}
		})
	}
}

func BenchmarkEncode(b *testing.B) {
	src := gaussian(benchRow)
	importance := make([]float32, benchRow)
	for i := range importance {
		importance[i] = 1 + float32(i%7)
	}
	for _, c := range everyCodec((*quantize.Codec).CanEncode) {
		size, _ := c.Type().RowSize(benchRow)
		dst := make([]byte, size)
		for _, v := range []struct {
			name       string
			importance []float32
		}{{"plain", nil}, {"importance", importance}} {
			b.Run(c.Type().String()+"/"+v.name, func(b *testing.B) {
				b.SetBytes(4 * benchRow)
				for b.Loop() {
					c.EncodeRow(dst, src, v.importance)
				}
			})
		}
	}
}

func BenchmarkStream(b *testing.B) {
	src := tensorOf("output.weight", gguf.F16, 4096, 2048)
	for _, name := range []string{"Q8_0", "Q4_0", "F32"} {
		b.Run(name, func(b *testing.B) {
			p, err := quantize.NewPlan(gguf.Assemble(&gguf.Metadata{}, []*gguf.Tensor{src}), quantize.Options{FileType: name, Pure: true})
			if err != nil {
				b.Fatal(err)
			}
			m := p.Model()
			b.SetBytes(4 * int64(src.Elements()))
			b.ReportAllocs()
			for b.Loop() {
				if err := gguf.Write(b.Context(), io.Discard, m); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
