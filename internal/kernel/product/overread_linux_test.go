package product_test

import (
	"math/rand/v2"
	"testing"

	"qtool/internal/kernel/kerneltest"
	"qtool/internal/kernel/product"
	"qtool/internal/kernel/simd"
	"qtool/internal/kernel/vector"
)

func TestNothingIsReadBeyondTheEndOfAMappedFile(t *testing.T) {
	for _, tier := range simd.Names() {
		undo, err := simd.Use(tier)
		if err != nil {
			t.Fatal(err)
		}
		defer undo()
		for _, precision := range []product.Precision{product.Float32, product.Auto} {
			p := product.NewPool(2)
			defer p.Close()
			p.SetPrecision(precision)
			for _, typ := range kerneltest.DecodedTypes() {
				codec := codecOf(t, typ)
				const rows, cols = 19, 512
				rng := rand.New(rand.NewPCG(25, 26))
				data := kerneltest.BeforeForbiddenPage(t, kerneltest.Rows(rng, typ, rows, cols, true))
				multiplyAtTheEnd(t, p, product.EncodedMatrix(data, rows, cols, len(data)/rows, codec.DecodeRow).OfType(typ))
			}
			for _, shape := range [][2]int{{16, 48}, {19, 16}, {7, 61}, {33, 3}} {
				rows, cols := shape[0], shape[1]
				multiplyAtTheEnd(t, p, product.Float32Matrix(kerneltest.FloatsBeforeForbiddenPage(t, rows*cols), rows, cols))
			}
		}
	}
}

// multiplyAtTheEnd runs every product of w with operands that end where memory does.
func multiplyAtTheEnd(t *testing.T, p *product.Pool, w product.Matrix) {
	for _, tokens := range []int{1, 5, 30} {
		x, y := kerneltest.FloatsBeforeForbiddenPage(t, tokens*w.Cols), kerneltest.FloatsBeforeForbiddenPage(t, tokens*w.Rows)
		product.Forward(p, y, x, tokens, w)
		product.Backward(p, x, y, tokens, w)
		product.AddOuter(p, kerneltest.FloatsBeforeForbiddenPage(t, w.Rows*w.Cols), y, x, tokens, w.Rows, w.Cols)
		product.MatVec(p, y[len(y)-w.Rows:], x[len(x)-w.Cols:], w)
		vector.Dot(x, x)
		vector.Axpy(y, 0.5, y)
		vector.SwiGLU(x, x, x)
		vector.GeGLU(x, x, x)
		vector.RoundedGeGLU(x, x, x)
		vector.Exp(y, y, vector.Highest(y))
	}
}
