package kernel

// Forward computes y[t,o] += sum over i of x[t,i]·w[o,i] for tokens rows of x
// and y. Every sum runs over i in ascending order in blocks of termBlock terms.
func Forward(p *Pool, y, x []float32, tokens int, w Matrix) {
	p.multiply(product{
		c: y, a: x, lda: w.Cols, w: w, transposed: true,
		m: tokens, n: w.Rows, k: w.Cols,
	})
}

// Backward computes dx[t,i] += sum over o of dy[t,o]·w[o,i] for tokens rows.
// Every sum runs over o in ascending order in blocks of termBlock terms.
func Backward(p *Pool, dx, dy []float32, tokens int, w Matrix) {
	p.multiply(product{
		c: dx, a: dy, lda: w.Rows, w: w,
		m: tokens, n: w.Cols, k: w.Rows,
	})
}

// AddOuter computes dw[o,i] += sum over t of dy[t,o]·x[t,i]: the gradient of a
// weight of rows × cols elements from tokens rows. Every sum runs over t in
// ascending order in blocks of termBlock terms.
func AddOuter(p *Pool, dw, dy, x []float32, tokens, rows, cols int) {
	p.multiply(product{
		c: dw, a: dy, lda: rows, columns: true, w: Float32Matrix(x, tokens, cols),
		m: rows, n: cols, k: tokens,
	})
}
