package kernel

import "sync"

// panelRows is how many weight rows a task decodes at once: enough to share
// each token's row between them, few enough to stay in the cache.
const panelRows = 16

// Forward computes y[t,o] += sum over i of x[t,i]·w[o,i] for tokens rows of x
// and y. Every sum runs over i in ascending order.
func Forward(p *Pool, y, x []float32, tokens int, w Matrix) {
	if tokens == 0 || w.Rows == 0 {
		return
	}
	panels := (w.Rows + panelRows - 1) / panelRows
	p.Run(panels, func(_, task int) {
		from := task * panelRows
		to := min(from+panelRows, w.Rows)
		scratch := borrow(panelRows * w.Cols)
		defer giveBack(scratch)
		multiplyPanel(y, x, tokens, w.Rows, from, w.panel(from, to, *scratch), w.Cols)
	})
}

// multiplyPanel adds the products of all tokens with the rows in panel to
// columns from.. of y, whose rows have width elements.
func multiplyPanel(y, x []float32, tokens, width, from int, panel []float32, n int) {
	rows := len(panel) / n
	t := 0
	for ; t+2 <= tokens; t += 2 {
		x0, x1 := x[t*n:(t+1)*n], x[(t+1)*n:(t+2)*n]
		y0, y1 := y[t*width+from:][:rows], y[(t+1)*width+from:][:rows]
		r := 0
		for ; r+4 <= rows; r += 4 {
			dot2x4(x0, x1, panel[r*n:(r+4)*n], y0[r:r+4], y1[r:r+4])
		}
		for ; r < rows; r++ {
			w := panel[r*n : (r+1)*n]
			y0[r] += Dot(x0, w)
			y1[r] += Dot(x1, w)
		}
	}
	if t < tokens {
		x0, y0 := x[t*n:(t+1)*n], y[t*width+from:][:rows]
		for r := range rows {
			y0[r] += Dot(x0, panel[r*n:(r+1)*n])
		}
	}
}

// dot2x4 adds the eight dot products of two vectors with four rows.
func dot2x4(x0, x1, rows, y0, y1 []float32) {
	n := len(x0)
	x1 = x1[:n]
	w0, w1, w2, w3 := rows[:n], rows[n:2*n], rows[2*n:3*n], rows[3*n:4*n]
	w0, w1, w2, w3 = w0[:n], w1[:n], w2[:n], w3[:n]
	var a0, a1, a2, a3, b0, b1, b2, b3 float32
	for i, a := range x0 {
		b := x1[i]
		u := w0[i]
		a0 += a * u
		b0 += b * u
		u = w1[i]
		a1 += a * u
		b1 += b * u
		u = w2[i]
		a2 += a * u
		b2 += b * u
		u = w3[i]
		a3 += a * u
		b3 += b * u
	}
	y0[0] += a0
	y0[1] += a1
	y0[2] += a2
	y0[3] += a3
	y1[0] += b0
	y1[1] += b1
	y1[2] += b2
	y1[3] += b3
}

// Dot is the sum of a[i]·b[i] in ascending order of i; b is at least as long as a.
func Dot(a, b []float32) float32 {
	b = b[:len(a)]
	var s float32
	for i, x := range a {
		s += x * b[i]
	}
	return s
}

// Axpy computes y[i] += a·x[i]; y is at least as long as x.
func Axpy(y []float32, a float32, x []float32) {
	y = y[:len(x)]
	for i, v := range x {
		y[i] += a * v
	}
}

// Backward computes dx[t,i] += sum over o of dy[t,o]·w[o,i] for tokens rows.
// Every sum runs over o in ascending order, four terms at a time.
func Backward(p *Pool, dx, dy []float32, tokens int, w Matrix) {
	if tokens == 0 || w.Rows == 0 {
		return
	}
	n := w.Cols
	chunk := max(8, (tokens+p.Workers()-1)/p.Workers())
	p.Run((tokens+chunk-1)/chunk, func(_, task int) {
		first := task * chunk
		last := min(first+chunk, tokens)
		scratch := borrow(panelRows * n)
		defer giveBack(scratch)
		for from := 0; from < w.Rows; from += panelRows {
			to := min(from+panelRows, w.Rows)
			panel := w.panel(from, to, *scratch)
			for t := first; t < last; t++ {
				addCombination(dx[t*n:(t+1)*n], dy[t*w.Rows+from:t*w.Rows+to], panel)
			}
		}
	})
}

// addCombination adds the rows of panel, weighted by c, to y.
func addCombination(y, c, panel []float32) {
	n := len(y)
	r := 0
	for ; r+4 <= len(c); r += 4 {
		axpy4(y, c[r:r+4], panel[r*n:(r+4)*n])
	}
	for ; r < len(c); r++ {
		Axpy(y, c[r], panel[r*n:(r+1)*n])
	}
}

func axpy4(y, c, rows []float32) {
	n := len(y)
	c0, c1, c2, c3 := c[0], c[1], c[2], c[3]
	w0, w1, w2, w3 := rows[:n], rows[n:2*n], rows[2*n:3*n], rows[3*n:4*n]
	w0, w1, w2, w3 = w0[:n], w1[:n], w2[:n], w3[:n]
	for i, v := range y {
		y[i] = v + (c0*w0[i] + c1*w1[i] + c2*w2[i] + c3*w3[i])
	}
}

// AddOuter computes dw[o,i] += sum over t of dy[t,o]·x[t,i]: the gradient of a
// weight of rows × cols elements from tokens rows. Every sum runs over t in
// ascending order, four terms at a time.
func AddOuter(p *Pool, dw, dy, x []float32, tokens, rows, cols int) {
	if tokens == 0 || rows == 0 {
		return
	}
	const block = 8
	p.Run((rows+block-1)/block, func(_, task int) {
		column := borrow(tokens)
		defer giveBack(column)
		c := (*column)[:tokens]
		for o := task * block; o < min((task+1)*block, rows); o++ {
			for t := range c {
				c[t] = dy[t*rows+o]
			}
			addCombination(dw[o*cols:(o+1)*cols], c, x[:tokens*cols])
		}
	})
}

var scratchPool = sync.Pool{New: func() any { return new([]float32) }}

func borrow(n int) *[]float32 {
	s := scratchPool.Get().(*[]float32)
	if cap(*s) < n {
		*s = make([]float32, n)
	}
	*s = (*s)[:n]
	return s
}

func giveBack(s *[]float32) { scratchPool.Put(s) }
