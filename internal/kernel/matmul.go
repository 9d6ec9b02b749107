package kernel

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
	b.Outer(dw, b.Rows(dy, rows), b.Rows(x, cols))
	b.Run()
}

// vectorProduct is y[o] += sum over i of x[i]·w[o,i] for one token.
type vectorProduct struct {
	y, x []float32
	w    Matrix
	*tier
}

// MatVec computes y[o] += sum over i of x[i]·w[o,i] for one token, at the speed
// at which memory delivers w: rows are multiplied as they are decoded. It has
// an order of sums of its own, so its bits are not those of Forward, and it is
// always in float32.
func MatVec(p *Pool, y, x []float32, w Matrix) {
	if w.Rows == 0 || w.Cols == 0 {
		return
	}
	p.operation.Lock()
	defer p.operation.Unlock()
	p.vector = vectorProduct{y[:w.Rows], x[:w.Cols], w, active}
	p.Do(ceil(w.Rows, vectorRows), p.vectorTask)
	p.vector = vectorProduct{}
}

// vectorRows is how many rows a task of MatVec multiplies.
const vectorRows = 32

func (q *vectorProduct) multiply(s *scratch, task int) {
	from := task * vectorRows
	d := &q.decoders[q.w.format]
	for r := from; r < min(from+vectorRows, q.w.Rows); r++ {
		if d.dot != nil {
			row := q.w.bytesOf(r, 0, q.w.Cols)
			q.y[r] += d.dot(&q.x[0], &row[0], q.w.Cols/d.elements)
			continue
		}
		row := q.w.Row(r, sized(&s.row, q.w.Cols))
		q.y[r] += q.dot(&q.x[0], &row[0], q.w.Cols)
	}
}
