package quantize

import (
	"slices"
	"sync"

	"qtool/internal/kernel/coding"
)

// weighting says how much the squared errors of a row's values count.
type weighting struct {
	by         coding.Weighing
	importance []float32 // of each value, for Given and Energy
	// meanSquare is what Energy compares a value with: one for so many values each.
	meanSquare       []float32
	meanSquareValues int
}

// of fills w with the weights of the values x, which begin at from in the row.
func (w *weighting) of(dst, x []float32, from int) {
	switch w.by {
	case coding.Given:
		copy(dst, w.importance[from:from+len(x)])
	case coding.Square:
		squareWeights(dst, x)
	case coding.Size:
		sizeWeights(dst, x)
	case coding.Levelled:
		levelledWeights(dst, x)
	case coding.Energy:
		energyWeights(dst, x, w.importance[from:], w.meanSquare[from/w.meanSquareValues])
	}
}

// energyOf is importance times the size of a value, compared with factor / values times
// the sum of squares of each run of so many values.
func energyOf(x, importance []float32, values int, meanSquare func(sumSquares float32) float32) weighting {
	w := weighting{by: coding.Energy, importance: importance, meanSquareValues: values}
	w.meanSquare = make([]float32, len(x)/values)
	for i := range w.meanSquare {
		w.meanSquare[i] = meanSquare(sumSquares(x[i*values : (i+1)*values]))
	}
	return w
}

// groupFit is the groups of one row after a search: a scale and a minimum for each, the sum
// of its weights, and the level of each value.
type groupFit struct {
	levels            []byte
	scale, low, total []float32

	count      int           // values of a group
	groups     coding.Groups // to search in
	other      coding.Groups // likewise
	numerators [64]float32   // of scales that are tried
	step, base coding.Lane   // of groups whose levels are chosen again
	before     [256]byte     // levels before that
}

var groupFits = sync.Pool{New: func() any { return new(groupFit) }}

// newGroupFit is for len(x) / count groups. It must be given back.
func newGroupFit(x []float32, count int) *groupFit {
	f := groupFits.Get().(*groupFit)
	f.count = count
	n := len(x) / count
	if cap(f.levels) < len(x) || cap(f.scale) < n {
		f.levels = make([]byte, len(x))
		f.scale, f.low, f.total = make([]float32, n), make([]float32, n), make([]float32, n)
	}
	f.levels, f.scale, f.low, f.total = f.levels[:len(x)], f.scale[:n], f.low[:n], f.total[:n]
	return f
}

func (f *groupFit) giveBack() { groupFits.Put(f) }

// each calls search for each group's levels, values and weights: one after another.
func (f *groupFit) each(x []float32, w *weighting, search func(g int, q []byte, x, w []float32)) {
	var weights [32]float32
	for g := range f.scale {
		from, to := g*f.count, (g+1)*f.count
		w.of(weights[:f.count], x[from:to], from)
		search(g, f.levels[from:to], x[from:to], weights[:f.count])
	}
}

// sideBySide calls search for up to 16 weighted groups at a time, which begin at group
// first.
func (f *groupFit) sideBySide(x []float32, w *weighting, search func(g *coding.Groups, first int)) {
	g := &f.groups
	for first := 0; first < len(f.scale); first += coding.Lanes {
		f.set(g, x, w, first)
		search(g, first)
		copy(f.scale[first:], g.Scale[:g.Len()])
		copy(f.total[first:], g.SumW[:g.Len()])
	}
}

// set fills g with groups from first on.
func (f *groupFit) set(g *coding.Groups, x []float32, w *weighting, first int) {
	from, to := first*f.count, min(len(x), (first+coding.Lanes)*f.count)
	g.Set(x[from:to], f.count)
	if w.importance != nil {
		g.SetWeights(w.importance[from:to])
	}
	if w.by == coding.Energy {
		for l := range g.Len() {
			g.MeanSquare[l] = w.meanSquare[(from+l*f.count)/w.meanSquareValues]
		}
	}
	g.Weigh(w.by)
}

// putLevels stores the levels that a search found for the groups from first on.
func (f *groupFit) putLevels(g *coding.Groups, x []float32, first int, least, most int32) {
	from, to := first*f.count, (first+g.Len())*f.count
	q := f.levels[from:to]
	coding.Levels(q, x[from:to], f.count, &g.Inverse, &g.From, least, most, -least)
	for l, inverse := range g.Inverse[:g.Len()] {
		if inverse == 0 {
			clear(q[l*f.count : (l+1)*f.count])
		}
	}
}

// symmetric is symmetricFit for all groups of x.
func (f *groupFit) symmetric(x []float32, w weighting, n int32) {
	if !coding.CanSearch() {
		f.each(x, &w, func(g int, q []byte, x, weights []float32) {
			f.scale[g], f.total[g] = symmetricFit(q, x, weights, n), sum32(weights)
		})
		return
	}
	numerators := (*[20]float32)(f.numerators[:])
	*numerators = symmetricScales(1, n)
	f.sideBySide(x, &w, func(g *coding.Groups, first int) {
		g.SearchSymmetric(numerators, float32(-n), float32(n-1))
		f.putLevels(g, x, first, -n, n-1)
	})
}

// affine is affineFit for all groups of x.
func (f *groupFit) affine(x []float32, w weighting, n int32, search *affineSearch) {
	if !coding.CanSearch() {
		f.each(x, &w, func(g int, q []byte, x, weights []float32) {
			f.scale[g], f.low[g] = affineFit(q, x, weights, n, search)
			f.total[g] = sum32(weights)
		})
		return
	}
	numerators := f.numerators[:search.steps+1]
	for step := range numerators {
		numerators[step] = search.levels(step, n)
	}
	f.sideBySide(x, &w, func(g *coding.Groups, first int) {
		g.SearchAffine(numerators, float32(n), search.absolute)
		f.putLevels(g, x, first, 0, n)
		copy(f.low[first:], g.Low[:g.Len()])
		for l := range g.Len() {
			if g.Redo[l] != 0 {
				var weights [32]float32
				from, to := (first+l)*f.count, (first+l+1)*f.count
				w.of(weights[:f.count], x[from:to], from)
				g.Scale[l], f.low[first+l] = affineFit(f.levels[from:to], x[from:to], weights[:f.count], n, search)
			}
		}
	})
}

// descend is the function of that name for all groups of 16; a value weighs its square.
func (f *groupFit) descend(x []float32) {
	w := weighting{by: coding.Square}
	if !coding.CanSearch() {
		for g := range f.scale {
			f.scale[g] = descend((*[16]byte)(f.levels[16*g:]), (*[16]float32)(x[16*g:]))
		}
		return
	}
	for first := 0; first < len(f.scale); first += 2 * coding.Lanes {
		second := min(first+coding.Lanes, (len(f.scale)-1)/coding.Lanes*coding.Lanes) // the first again, if it is the last
		f.set(&f.groups, x, &w, first)
		f.set(&f.other, x, &w, second)
		f.groups.Descend(&f.other)
		f.takeDescended(&f.groups, first)
		f.takeDescended(&f.other, second)
	}
}

func (f *groupFit) takeDescended(g *coding.Groups, first int) {
	copy(f.scale[first:], g.Scale[:g.Len()])
	q := f.levels[16*first : 16*(first+g.Len())]
	g.DescendedLevels(q)
	for l, inverse := range g.Inverse[:g.Len()] {
		if inverse == 0 {
			clear(q[16*l : 16*(l+1)])
		}
	}
}

// relevel chooses the levels of superblock i of x again: for each group, from least to
// most, for value = step * (level - bias) - base; at step 0 any will do, and ggml leaves
// those of the search.
func (f *groupFit) relevel(i int, x []float32, least, most, bias int32) {
	q, x := f.levels[256*i:256*(i+1)], x[256*i:256*(i+1)]
	count, groups, d, low := f.count, 256/f.count, &f.step, &f.base
	if !coding.CanSearch() {
		for g := range groups {
			relevelGroup(q[g*count:(g+1)*count], x[g*count:(g+1)*count], d[g], low[g], least, most, bias)
		}
		return
	}
	kept := slices.Contains(d[:groups], 0)
	if kept {
		copy(f.before[:], q)
	}
	coding.DividedLevels(q, x, count, d, low, least, most, bias)
	for g := range groups {
		if kept && d[g] == 0 {
			copy(q[g*count:(g+1)*count], f.before[g*count:])
		}
	}
}

func relevelGroup(q []byte, x []float32, d, low float32, least, most, bias int32) {
	if d == 0 {
		return
	}
	x = x[:len(q)]
	for i := range q {
		q[i] = byte(bias + max(least, min(most, nearest((x[i]+low)/d))))
	}
}
