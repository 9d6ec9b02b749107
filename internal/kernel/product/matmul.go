package product

// Forward computes y[t,o] += sum over i of x[t,i]·w[o,i] for tokens rows of x
// and y. Every sum runs over i in ascending order in blocks of termBlock terms.
func Forward(p *Pool, y, x []float32, tokens int, w Matrix) {
	b := p.BeginOne(tokens)
	defer b.End()
	b.matrix[0] = w
	b.Forward(y, true, Term{b.Rows(x, w.Cols), b.matrix[:]})
	b.Run()
}

// Backward computes dx[t,i] += sum over o of dy[t,o]·w[o,i] for tokens rows.
// Every sum runs over o in ascending order in blocks of termBlock terms.
func Backward(p *Pool, dx, dy []float32, tokens int, w Matrix) {
	b := p.BeginOne(tokens)
	defer b.End()
	b.matrix[0] = w
	b.Backward(dx, true, Term{b.Rows(dy, w.Rows), b.matrix[:]})
	b.Run()
}

// AddOuter computes dw[o,i] += sum over t of dy[t,o]·x[t,i]: the gradient of a
// weight of rows × cols elements from tokens rows. Every sum runs over t in
// ascending order in blocks of termBlock terms.
func AddOuter(p *Pool, dw, dy, x []float32, tokens, rows, cols int) {
	b := p.BeginOne(tokens)
	defer b.End()
	b.Outer(dw, b.Rows(dy, rows), b.Rows(x, cols), false)
	b.Run()
}
