package product

import (
	"cmp"
	"slices"

	"qtool/internal/work"
)

// How a batch is divided among workers, see docs/kernels.md. The products of one call
// of Forward, Backward or Outer are a set; every worker has an equal share of each,
// the same rows in all of them as far as rows are divided.

// All who share the columns of a product decode its weights once, those who share its
// rows each. So a worker must get many rows for them to be divided: at least leastRows,
// and so many that multiplying an element with them takes leastMultiplying, which is
// ten times what decoding it takes or more.
const (
	leastRows        = 128
	leastMultiplying = 1.0 // ns
)

// leastShare is how many multiplications are worth waking a worker for.
const leastShare = 1 << 20

// bandsOf is how many bands m rows are divided into.
func bandsOf(m, workers int) int { return max(min(workers, m/leastRows), 1) }

// panelsOf is how many panels some rows are cut into: as many for every band.
func (m *multiplier) panelsOf(rows, workers int) int {
	bands := bandsOf(rows, workers)
	return bands * ceil(ceil(rows, m.tileRows()), bands)
}

// task is what one worker computes of a product: columns j0 to j1-1 of the rows
// of panels first to last-1.
type task struct {
	q           *product
	j0, j1      int
	first, last int
}

// divide lists the tasks of all products, those of each worker together, group by
// group.
func (b *Batch) divide() {
	clear(b.sets)
	for i := range b.products {
		q := &b.products[i]
		q.prepare(b.p.Workers())
		q.before = b.sets[q.set]
		b.sets[q.set] += q.work()
		b.p.multiplied += float64(q.work())
	}
	for i := range b.products {
		q := &b.products[i]
		q.divideRows(b.sets[q.set], b.p)
	}
	slices.SortStableFunc(b.products, func(q, o product) int { return cmp.Compare(q.group, o.group) })
	b.starts = append(b.starts[:0], 0)
	for w := range b.p.Workers() {
		b.divideFor(w)
		b.starts = append(b.starts, len(b.tasks))
	}
}

// shareOf is the work of a set that worker w begins and ends at.
func (b *Batch) shareOf(w, set int) (from, to int) {
	all := b.sets[set]
	workers := max(min(b.p.Workers(), all/leastShare), 1)
	return work.ShareOfSome(w, all, workers)
}

// divideFor lists the tasks of worker w.
func (b *Batch) divideFor(w int) {
	left := 0
	for set := range b.sets {
		from, to := b.shareOf(w, set)
		left += to - from
	}
	for i := range b.products {
		q := &b.products[i]
		from, to := b.shareOf(w, q.set)
		b.tasks = q.cut(b.tasks, q.columnAt(from), q.columnAt(to), &left)
	}
}

// work is the number of multiplications.
func (q *product) work() int { return q.column * q.n }

// divideRows chooses the number of bands of rows. Where workers are far from each
// other that is one for every worker that the product has work for, if they are
// large enough; else columns are divided, if they are enough.
func (q *product) divideRows(all int, p *Pool) {
	const fewColumns, panelsOfBand = 4, 4
	workers := max((q.work()*p.Workers()+all/2)/all, 1) // that the product has work for
	switch {
	case workers == 1:
		q.bands = 1
	case ceil(q.n, q.align) < fewColumns*workers:
		q.bands = max(min(workers, q.panels/panelsOfBand), 1)
	case p.distance.far && float64(q.m/workers) >= leastMultiplying*p.distance.rates[q.way]:
		q.bands = bandsOf(q.m, workers)
	default:
		q.bands = 1
	}
}

// columnAt is the column at which a worker begins whose share of the set begins after
// some work. Columns of all bands are counted, one band after the other.
func (q *product) columnAt(work int) int {
	switch {
	case work <= q.before:
		return 0
	case work >= q.before+q.work():
		return q.bands * q.n
	}
	at := (work - q.before) / ceil(q.column, q.bands)
	band, column := at/q.n, at%q.n
	return band*q.n + min((column+q.align/2)/q.align*q.align, q.n)
}

// cut appends the tasks of columns from to to-1, counted as in columnAt. left is the
// worker's work from there on. Tasks are as wide as they can be, until the last ones,
// which others take who are done.
func (q *product) cut(tasks []task, from, to int, left *int) []task {
	const lastTasks, narrowest = 3, 4 // the latter in tiles: packed rows are read once for each task
	column := ceil(q.column, q.bands)
	for from < to {
		band, j := from/q.n, from%q.n
		columns := min(q.widest, q.n-j, to-from)
		if fit := *left / (lastTasks * column) / q.align * q.align; fit < columns {
			columns = min(columns, max(fit, narrowest*q.align))
		}
		first, last := work.Share(band, q.panels, q.bands)
		tasks = append(tasks, task{q, j, j + columns, first, last})
		*left -= columns * column
		from += columns
	}
	return tasks
}

// dividePanels lists the panels that are to be packed, those of each worker's rows
// together.
func (b *Batch) dividePanels() {
	first, end := int(b.groups[0]), int(b.groups[len(b.groups)-1])
	b.starts = append(b.starts[:0], 0)
	for w := range b.p.Workers() {
		from, to := work.Share(w, end-first, b.p.Workers())
		for _, a := range b.unpacked {
			begin, rows := a.row-first, a.batchRows()
			for i := range a.panels {
				if row := begin + i*rows/a.panels; row >= from && row < to {
					b.panels = append(b.panels, panel{a, i})
				}
			}
		}
		b.starts = append(b.starts, len(b.panels))
	}
}

// batchRows is how many rows of a batch a is made of.
func (a *left) batchRows() int {
	if a.columns {
		return a.k
	}
	return a.m
}
