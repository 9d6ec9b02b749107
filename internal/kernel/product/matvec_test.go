package product_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"qtool/gguf"
	"qtool/internal/kernel/kerneltest"
	"qtool/internal/kernel/product"
	"qtool/internal/kernel/simd"
	"qtool/quantize"
)

// Products of one token together, with and without a pair, are what they are one by
// one, on any number of workers.
// codecOf is the reference decoder of a type.
func codecOf(t testing.TB, typ gguf.Type) *quantize.Codec {
	t.Helper()
	c, err := quantize.Lookup(typ)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestMatVecIsTheProductWithDecodedRows(t *testing.T) {
	for _, tier := range simd.Names() {
		undo, err := simd.Use(tier)
		if err != nil {
			t.Fatal(err)
		}
		defer undo()
		for _, typ := range kerneltest.DecodedTypes() {
			rng := rand.New(rand.NewPCG(19, 20))
			codec := codecOf(t, typ)
			const rows, cols = 67, 768
			data := kerneltest.Rows(rng, typ, rows, cols, true)
			m := product.EncodedMatrix(data, rows, cols, len(data)/rows, codec.DecodeRow).OfType(typ)
			checkMatVec(t, rng, tier+"/"+typ.String(), m)
		}
		rng := rand.New(rand.NewPCG(21, 22))
		for _, cols := range []int{77, 16, 64, 1040} {
			checkMatVec(t, rng, tier+"/F32", product.Float32Matrix(normal(rng, 5*cols), 5, cols))
		}
	}
}

func checkMatVec(t *testing.T, rng *rand.Rand, name string, m product.Matrix) {
	t.Helper()
	x, scratch := make([]float32, m.Cols), make([]float32, m.Cols)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	var first []float32
	for _, workers := range []int{1, 3} {
		p := product.NewPool(workers)
		defer p.Close()
		y := make([]float32, m.Rows+1)
		for i := range y {
			y[i] = 1
		}
		product.MatVec(p, y, x, m)
		for r := range m.Rows {
			sum, magnitude := 1.0, 1.0
			for i, w := range m.Row(r, scratch) {
				sum += float64(w) * float64(x[i])
				magnitude += math.Abs(float64(w) * float64(x[i]))
			}
			if math.Abs(float64(y[r])-sum) > 1e-5*magnitude {
				t.Fatalf("%s: y[%d] = %g, want %g", name, r, y[r], sum)
			}
		}
		if y[m.Rows] != 1 {
			t.Fatalf("%s: the element after y was overwritten", name)
		}
		if first != nil && !slices.Equal(first, y) {
			t.Fatalf("%s: the result depends on the number of workers", name)
		}
		first = y
	}
}

func TestVectorsTogetherAreVectorsOneByOne(t *testing.T) {
	for _, tier := range simd.Names() {
		undo, err := simd.Use(tier)
		if err != nil {
			t.Fatal(err)
		}
		defer undo()
		rng := rand.New(rand.NewPCG(31, 32))
		const cols = 512
		x := normal(rng, cols)
		list := func() (products []product.VectorProduct) {
			rng := rand.New(rand.NewPCG(33, 34))
			for i, typ := range []gguf.Type{gguf.Q8_0, gguf.F32, gguf.Q4_K, gguf.F32, gguf.Q6_K} {
				rows := []int{700, 33, 1, 0, 129}[i]
				v := product.VectorProduct{X: x, Y: normal(rng, rows), Add: i%2 == 0}
				if v.W = product.Float32Matrix(normal(rng, rows*cols), rows, cols); typ != gguf.F32 {
					codec := codecOf(t, typ)
					data := kerneltest.Rows(rng, typ, rows, cols, true)
					v.W = product.EncodedMatrix(data, rows, cols, len(data)/rows, codec.DecodeRow).OfType(typ)
				}
				if rank := []int{5, 0, 16, 16, 48}[i]; rank > 0 {
					v.W2, v.X2 = product.Float32Matrix(normal(rng, rows*rank), rows, rank), normal(rng, rank)
				}
				products = append(products, v)
			}
			return products
		}
		want := list()
		one := product.NewPool(1)
		defer one.Close()
		for _, v := range want {
			if !v.Add {
				clear(v.Y)
			}
			product.MatVec(one, v.Y, v.X, v.W)
			if v.W2.Rows > 0 {
				product.MatVec(one, v.Y, v.X2, v.W2)
			}
		}
		for _, workers := range []int{1, 2, 3, 8} {
			p := product.NewPool(workers)
			defer p.Close()
			for range 20 {
				got := list()
				product.MatVecs(p, got)
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
