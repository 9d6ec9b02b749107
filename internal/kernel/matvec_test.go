package kernel_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"qtool/gguf"
	"qtool/internal/kernel"
)

// Products of one token together, with and without a pair, are what they are one by
// one, on any number of workers.
func TestVectorsTogetherAreVectorsOneByOne(t *testing.T) {
	for _, tier := range kernel.Tiers() {
		undo, err := kernel.UseTier(tier)
		if err != nil {
			t.Fatal(err)
		}
		defer undo()
		rng := rand.New(rand.NewPCG(31, 32))
		const cols = 512
		x := normal(rng, cols)
		list := func() (products []kernel.Vector) {
			rng := rand.New(rand.NewPCG(33, 34))
			for i, typ := range []gguf.Type{gguf.Q8_0, gguf.F32, gguf.Q4_K, gguf.F32, gguf.Q6_K} {
				rows := []int{700, 33, 1, 0, 129}[i]
				v := kernel.Vector{X: x, Y: normal(rng, rows), Add: i%2 == 0}
				if v.W = kernel.Float32Matrix(normal(rng, rows*cols), rows, cols); typ != gguf.F32 {
					codec := codecOf(t, typ)
					data := randomRows(rng, typ, rows, cols, true)
					v.W = kernel.EncodedMatrix(data, rows, cols, len(data)/rows, codec.DecodeRow).OfType(typ)
				}
				if rank := []int{5, 0, 16, 16, 48}[i]; rank > 0 {
					v.Pair, v.PairX = kernel.Float32Matrix(normal(rng, rows*rank), rows, rank), normal(rng, rank)
				}
				products = append(products, v)
			}
			return products
		}
		want := list()
		one := kernel.NewPool(1)
		defer one.Close()
		for _, v := range want {
			if !v.Add {
				clear(v.Y)
			}
			kernel.MatVec(one, v.Y, v.X, v.W)
			if v.Pair.Rows > 0 {
				kernel.MatVec(one, v.Y, v.PairX, v.Pair)
			}
		}
		for _, workers := range []int{1, 2, 3, 8} {
			p := kernel.NewPool(workers)
			defer p.Close()
			for range 20 {
				got := list()
				kernel.MatVecs(p, got)
				for i := range got {
					if !slices.Equal(got[i].Y, want[i].Y) {
						t.Fatalf("%s, %d workers: product %d differs from the one computed alone", tier, workers, i)
					}
				}
			}
		}
	}
}

func normal(rng *rand.Rand, n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(rng.NormFloat64() / math.Sqrt(30))
	}
	return v
}
