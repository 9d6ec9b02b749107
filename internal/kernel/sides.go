package kernel

// Left and Right are the two sides of a product of small matrices that is one
// part of a task: whoever does the part packs them and multiplies, without the
// pool. They keep their memory for the next matrix, so they allocate only to
// grow. A zero value is ready for use; one is used by one goroutine at a time,
// and what was packed is multiplied on the tier that it was packed on.

// Left is the left side of products: Rows × Terms elements, in panels of as many
// rows as a micro-kernel has.
type Left struct {
	Rows, Terms int

	tier    *tier
	panels  int
	data    []float32
	viewed  bool // in place: as described at View, else panel after panel
	stride  int  // of terms if viewed, else of panels
	packed  []float32
	scratch scratch
}

func (a *Left) set(rows, terms int) {
	a.Rows, a.Terms, a.tier = rows, terms, active
	a.panels = ceil(rows, a.tier.rows())
}

// Pack copies a matrix whose element [i,l] is src[i·stride+l].
func (a *Left) Pack(src []float32, stride, rows, terms int) {
	a.set(rows, terms)
	t := a.tier
	// Transposing stores whole vectors: the last column needs room.
	a.viewed, a.stride = false, terms*t.rows()+t.lanes
	a.data = sized(&a.packed, a.panels*a.stride)
	if terms == 0 {
		return
	}
	for p := range a.panels {
		from, to := a.Panel(p)
		// From the last rows to the first, whose vectors overwrite the excess of theirs.
		for r := (to - from - 1) / t.lanes * t.lanes; r >= 0; r -= t.lanes {
			for l := range t.lanes {
				a.scratch.rows[l] = &src[min(from+r+l, to-1)*stride]
			}
			t.transposeRows(a.data[p*a.stride+r:], to-from, &a.scratch, min(t.lanes, to-from-r), terms)
		}
	}
}

// View uses a matrix in place whose element [i,l] is src[l·stride+i].
func (a *Left) View(src []float32, stride, rows, terms int) {
	a.set(rows, terms)
	a.viewed, a.stride, a.data = true, stride, src
}

// Panels is the number of panels.
func (a *Left) Panels() int { return a.panels }

// Panel is the first row of panel p and the first row of the next.
func (a *Left) Panel(p int) (from, to int) {
	return share(p, a.Rows, a.panels)
}

// terms is the first element of a panel at term l and the distance from one
// term to the next.
func (a *Left) terms(panel, l int) (first *float32, stride int) {
	from, to := a.Panel(panel)
	if a.viewed {
		_ = a.data[(a.Terms-1)*a.stride+a.Rows-1]
		return &a.data[l*a.stride+from], a.stride
	}
	return &a.data[panel*a.stride+l*(to-from)], to - from
}

// Right is the right side of products: Terms × Columns elements.
type Right struct {
	Terms, Columns int

	packed  packedB
	memory  []float32
	scratch scratch
}

// Pack copies a matrix whose element [l,j] is src[l·stride+j].
func (b *Right) Pack(src []float32, stride, terms, columns int) {
	b.Terms, b.Columns = terms, columns
	wide := active.widths[0]
	// The odd line between rows keeps them from sharing the cache's sets.
	width := ceil(columns, wide)*wide + 16
	b.packed = packedB{sized(&b.memory, terms*width), wide, width}
	for l := range terms {
		copy(b.packed.data[l*width:], src[l*stride:][:columns])
	}
}

// View is Pack without the copy, where micro-kernels can read src in place: for
// products of few rows.
func (b *Right) View(src []float32, stride, terms, columns int) {
	if columns%active.widths[1] != 0 {
		b.Pack(src, stride, terms, columns)
		return
	}
	b.Terms, b.Columns = terms, columns
	b.packed = packedB{src, active.widths[0], stride}
}

// PackTransposed copies a matrix whose element [l,j] is src[j·stride+l].
func (b *Right) PackTransposed(src []float32, stride, terms, columns int) {
	b.Terms, b.Columns = terms, columns
	t := active
	wide := t.widths[0]
	b.packed = packedB{sized(&b.memory, ceil(columns, wide)*wide*terms), wide * terms, wide}
	if terms == 0 {
		return
	}
	for j := 0; j < columns; j += t.lanes {
		rows := min(t.lanes, columns-j)
		for r := range t.lanes {
			b.scratch.rows[r] = &src[(j+min(r, rows-1))*stride]
		}
		t.transposeRows(b.packed.data[j/wide*wide*terms+j%wide:], wide, &b.scratch, rows, terms)
	}
}

// Multiply computes c[i·stride+j] = sum over from ≤ l < to of a[i,l]·b[l,j], or
// += if add, for the rows i of one panel of a and the first columns j of b. Every
// sum starts at 0, runs over l in ascending order and is then stored in c or added
// to it: what a row is given does not depend on the other rows, nor on terms that
// are 0.
func Multiply(c []float32, stride int, add bool, a *Left, panel int, b *Right, from, to, columns int) {
	t := a.tier
	first, last := a.Panel(panel)
	rows := last - first
	if columns <= 0 {
		return
	}
	c = c[first*stride : (last-1)*stride+columns]
	if from >= to {
		for r := 0; r < rows && !add; r++ {
			clear(c[r*stride:][:columns])
		}
		return
	}
	_ = b.packed.data[(columns-1)/t.widths[0]*b.packed.step+(to-1)*b.packed.stride+(columns-1)%t.widths[0]]
	left, lda := a.terms(panel, from)
	for j := 0; j < columns; j += t.widths[0] {
		w := 0
		if columns-j <= t.widths[1] {
			w = 1
		}
		tile := t.tiles[w][rows-1]
		right := &b.packed.data[j/t.widths[0]*b.packed.step+from*b.packed.stride]
		if columns-j >= t.widths[w] {
			tile(to-from, left, lda, right, b.packed.stride, &c[j], stride, add)
			continue
		}
		edge, width := a.scratch.beginEdge(c[j:], stride, rows, columns-j, t.widths[w], add)
		tile(to-from, left, lda, right, b.packed.stride, &edge[0], width, add)
		copyRows(c[j:], stride, edge, width, rows, columns-j)
	}
}
