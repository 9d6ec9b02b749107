package kernel

// Forward computes y[t,o] += sum over i of x[t,i]·w[o,i] for tokens rows of x
// and y. Every sum runs over i in ascending order in blocks of termBlock terms.
func Forward(p *Pool, y, x []float32, tokens int, w Matrix) {
	p.multiply(forward(y, x, tokens, w))
}

func forward(y, x []float32, tokens int, w Matrix) product {
	return product{
		c: y, a: x, lda: w.Cols, w: w, transposed: true,
		m: tokens, n: w.Rows, k: w.Cols,
	}
}

// Backward computes dx[t,i] += sum over o of dy[t,o]·w[o,i] for tokens rows.
// Every sum runs over o in ascending order in blocks of termBlock terms.
func Backward(p *Pool, dx, dy []float32, tokens int, w Matrix) {
	p.multiply(backward(dx, dy, tokens, w))
}

func backward(dx, dy []float32, tokens int, w Matrix) product {
	return product{
		c: dx, a: dy, lda: w.Rows, w: w,
		m: tokens, n: w.Cols, k: w.Rows,
	}
}

// AddOuter computes dw[o,i] += sum over t of dy[t,o]·x[t,i]: the gradient of a
// weight of rows × cols elements from tokens rows. Every sum runs over t in
// ascending order in blocks of termBlock terms.
func AddOuter(p *Pool, dw, dy, x []float32, tokens, rows, cols int) {
	p.multiply(outer(dw, dy, x, tokens, rows, cols))
}

func outer(dw, dy, x []float32, tokens, rows, cols int) product {
	return product{
		c: dw, a: dy, lda: rows, columns: true, w: Float32Matrix(x, tokens, cols),
		m: rows, n: cols, k: tokens,
	}
}

// ForwardGroups is Forward for rows grouped by matrix, all groups at once: rows
// groups[e] to groups[e+1]-1 of x and y belong to w[e]. A matrix without rows
// is not touched. All matrices have the same shape.
func ForwardGroups(p *Pool, y, x []float32, groups []int32, w []Matrix) {
	p.eachGroup(groups, func(e, from, tokens int) product {
		return forward(y[from*w[e].Rows:], x[from*w[e].Cols:], tokens, w[e])
	})
}

// BackwardGroups is Backward for rows grouped as in ForwardGroups.
func BackwardGroups(p *Pool, dx, dy []float32, groups []int32, w []Matrix) {
	p.eachGroup(groups, func(e, from, tokens int) product {
		return backward(dx[from*w[e].Cols:], dy[from*w[e].Rows:], tokens, w[e])
	})
}

// AddOuterGroups is AddOuter for rows grouped as in ForwardGroups; dw holds the
// gradients of rows × cols elements of all groups, one after the other.
func AddOuterGroups(p *Pool, dw, dy, x []float32, groups []int32, rows, cols int) {
	p.eachGroup(groups, func(e, from, tokens int) product {
		return outer(dw[e*rows*cols:], dy[from*rows:], x[from*cols:], tokens, rows, cols)
	})
}

// eachGroup runs the products of all groups that have rows.
func (p *Pool) eachGroup(groups []int32, of func(e, from, tokens int) product) {
	p.operation.Lock()
	defer p.operation.Unlock()
	for e := range len(groups) - 1 {
		if from, to := int(groups[e]), int(groups[e+1]); to > from {
			p.add(of(e, from, to-from))
		}
	}
	p.multiplyAll()
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
	defer p.forget()
	p.products = append(p.products, product{c: y[:w.Rows], a: x[:w.Cols], w: w, tier: active})
	p.Do(ceil(w.Rows, vectorRows), p.vectorTask)
}

// vectorRows is how many rows a task of MatVec multiplies.
const vectorRows = 32

func (q *product) multiplyVector(s *scratch, task int) {
	from := task * vectorRows
	dot := q.decoders[q.w.format].dot
	for r := from; r < min(from+vectorRows, q.w.Rows); r++ {
		if dot != nil {
			row := q.w.bytesOf(r, 0, q.w.Cols)
			q.c[r] += dot(&q.a[0], &row[0], q.w.Cols/q.decoders[q.w.format].elements)
			continue
		}
		row := q.w.Row(r, sized(&s.row, q.w.Cols))
		q.c[r] += q.dot(&q.a[0], &row[0], q.w.Cols)
	}
}
