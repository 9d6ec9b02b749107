package lora

import (
	"context"
	"fmt"
	"math"
	"slices"

	"qtool/gguf"
	"qtool/internal/kernel/product"
	"qtool/internal/splitmix"
	"qtool/internal/usage"
)

// Method is a way to make one adapter of several.
type Method string

// The methods. ΔWᵢ is what adapter i changes, scale·B·A, and wᵢ its strength.
const (
	// Concat is the sum Σ wᵢ·ΔWᵢ, exactly: the ranks of pairs on one tensor follow each other.
	Concat Method = "concat"
	// Linear adds up the halves: B = Σ √(wᵢ·scaleᵢ)·Bᵢ and A likewise, as "linear" of PEFT.
	// Their product also has what no adapter says, the products of the B of one and the A of
	// another. It is the sum of the changes only where these vanish. On changes,
	// it is the sum, cut to the rank.
	Linear Method = "linear"
	// TIES keeps of each adapter the values of largest magnitude, elects for each element the sign
	// that has the larger sum, and takes the mean of the values that have it (P. Yadav
	// et al., arXiv 2306.01708).
	TIES Method = "ties"
	// DARE keeps of each adapter values at random, multiplies them by 1/density, and adds up
	// (L. Yu et al., arXiv 2311.03099).
	DARE Method = "dare"
	// DARETIES keeps values as DARE does and joins them as TIES does.
	DARETIES Method = "dare-ties"
)

// Methods lists them all.
func Methods() []Method { return []Method{Concat, Linear, TIES, DARE, DARETIES} }

// Sparse reports whether the method keeps only some values, as a density says.
func (m Method) Sparse() bool { return m == TIES || m == DARE || m == DARETIES }

// elects reports whether values of the sign that is in the minority are left out.
func (m Method) elects() bool { return m == TIES || m == DARETIES }

// Blending says how [Blend] works.
type Blending struct {
	Method Method
	// Factors works on the halves A and B themselves, and not on the changes that they
	// make: what PEFT calls linear, ties, dare_linear and dare_ties, where its names for the
	// others end with _svd. It wants equal ranks.
	Factors bool
	// Density is the share of values that are kept by a [Method.Sparse] method.
	Density float64
	// Rank of the result, which loses the least that is possible. 0 is for Concat the sum of the
	// ranks, else the highest of the adapters.
	Rank    int
	Seed    uint64 // of what DARE keeps, and of the decomposition
	Threads int    // 0 takes one for each CPU; the result does not depend on it
	// Progress, unless nil, gets how many of how many pairs are done.
	Progress func(tensor string, done, total int64)
}

func (o *Blending) check() error {
	switch {
	case !slices.Contains(Methods(), o.Method):
		return usage.Errorf("there is no method %q of combining adapters; these are: %v", o.Method, Methods())
	case o.Method.Sparse() && !(o.Density > 0 && o.Density <= 1):
		return usage.Errorf("a density of %g: expected a share of values above 0 and at most 1, as in 0.2", o.Density)
	case o.Factors && o.Method == Concat:
		return usage.Errorf("%s keeps all factors as they are: there is no choice between working on factors and on changes", Concat)
	case o.Rank < 0:
		return usage.Errorf("a rank of %d: expected 1 or more", o.Rank)
	}
	return nil
}

// Blend makes one adapter of several. A strength and the scale of its adapter are part of the values
// that methods compare: an adapter of a small one has little to say in the election. A pair
// whose tensor no other adapter has is kept whole, with its strength: there is nothing for it to be reconciled
// with. A stack of experts is blended matrix by matrix. Fits say what is kept of what the
// method makes, in the order of the pairs.
//
// The result has no metadata, and its alpha is its highest rank. It fails with [ErrMismatch]
// if the adapters are not for one base, with an error of wrong usage if the method cannot
// blend them, with [ErrInvalid] if a pair is none or becomes too large, or with ctx's error
// when that ends.
func Blend(ctx context.Context, o Blending, adapters ...Scaled) (*Adapter, []Fit, error) {
	if err := o.check(); err != nil {
		return nil, nil, err
	}
	for _, a := range adapters {
		if err := a.checkPairs(); err != nil {
			return nil, nil, err
		}
	}
	to, groups, err := grouped(adapters)
	if err != nil {
		return nil, nil, err
	}
	b := &blending{Blending: o, pool: product.NewPool(o.Threads)}
	defer b.pool.Close()
	var fits []Fit
	for i, pairs := range groups {
		var p Pair
		var fit Fit
		err := b.pool.Within(ctx, func() (err error) {
			if p, fit, err = b.pair(ctx, pairs); err == nil {
				err = fit.compareSum(&p, pairs)
			}
			return err
		})
		if err != nil {
			return nil, nil, err
		}
		to.Pairs, fits = append(to.Pairs, p), append(fits, fit)
		if o.Progress != nil {
			o.Progress(p.Tensor, int64(i+1), int64(len(groups)))
		}
	}
	to.foldScales()
	_, err = to.bound() // which finds values beyond float32
	return to, fits, err
}

// compareSum measures how far p, with the scale 1, is from the sum of the pairs.
func (f *Fit) compareSum(p *Pair, pairs []scaledPair) error {
	sum, err := combined(pairs)
	if err != nil {
		return err
	}
	difference, err := combined([]scaledPair{{p, 1, 0}, {&sum, -1, 0}})
	if err != nil {
		return err
	}
	f.Blended = len(pairs)
	f.measureSum(max(0, difference.energy()), sum.energy())
	return nil
}

// blending is one run of Blend.
type blending struct {
	Blending
	pool *product.Pool
}

// pair blends pairs on one tensor to one with the scale 1.
func (b *blending) pair(ctx context.Context, pairs []scaledPair) (Pair, Fit, error) {
	joined, err := combined(pairs) // which compares the shapes
	if err != nil {
		return Pair{}, Fit{}, err
	}
	rank := b.Rank
	if rank == 0 && b.Method == Concat {
		rank = joined.Rank()
	}
	for _, p := range pairs {
		if b.Rank == 0 && b.Method != Concat {
			rank = max(rank, p.Rank())
		}
	}
	switch {
	case len(pairs) == 1 || b.Method == Concat || b.Method == Linear && !b.Factors:
	case b.Factors:
		if joined, err = b.factors(pairs); err != nil {
			return Pair{}, Fit{}, err
		}
	default:
		return b.changes(pairs, rank)
	}
	if rank >= joined.Rank() {
		e := joined.energy()
		return joined, fitOf(joined.Tensor, joined.Rank(), e, energies{changes: e}), nil
	}
	return joined.resized(ctx, b.pool.Pool, &Resizing{Rank: rank})
}

// factors blends the halves. Each side of a pair takes the root of the strength, and B its
// sign.
func (b *blending) factors(pairs []scaledPair) (Pair, error) {
	first := pairs[0]
	out := Pair{Tensor: first.Tensor}
	var roots [2][]float32
	var halves [2][]Half
	for _, p := range pairs {
		if p.Rank() != first.Rank() {
			return Pair{}, usage.Errorf("the pairs on %q have ranks %d and %d, and halves of several ranks cannot be blended: blend the changes, take %s, or resize one adapter first",
				p.Tensor, first.Rank(), p.Rank(), Concat)
		}
		root := math.Sqrt(math.Abs(float64(p.scale)))
		roots[0] = append(roots[0], float32(root))
		roots[1] = append(roots[1], float32(math.Copysign(root, float64(p.scale))))
		halves[0], halves[1] = append(halves[0], p.A), append(halves[1], p.B)
	}
	for side, to := range []*Half{&out.A, &out.B} {
		to.Shape = slices.Clone(halves[side][0].Shape)
		to.Values = make([]float32, len(halves[side][0].Values))
		size := len(to.Values) / first.matrices()
		for m := range first.matrices() {
			v := b.newValues(pairs, m, 1+side)
			for i, h := range halves[side] {
				part := h.Values[m*size:][:size]
				v.weights[i], v.parts[i] = roots[side][i], part
				if b.Method == TIES {
					v.least[i] = least(b.Density, size, func(use func([]float32)) error { use(part); return nil })
				}
			}
			v.blend(to.Values[m*size:][:size], 0)
		}
	}
	return out, nil
}

// changes blends the changes, and finds the pair of a rank that is near them.
func (b *blending) changes(pairs []scaledPair, rank int) (Pair, Fit, error) {
	first := pairs[0]
	var all energies
	held := 0.0
	var of []*decomposition
	for m := range first.matrices() {
		d, sums, err := b.matrix(pairs, m, rank)
		if err != nil {
			return Pair{}, Fit{}, fmt.Errorf("blending the pairs on %q: %w", first.Tensor, err)
		}
		all.join(sums)
		held += d.energy(len(d.values))
		of = append(of, d)
	}
	for _, d := range of {
		rank = min(rank, max(1, min(d.rows, d.columns)))
	}
	return pairOf(first.Tensor, of, rank, len(first.B.Shape) > 2, 1), fitOf(first.Tensor, rank, held, all), nil
}

// matrix blends matrix m.
func (b *blending) matrix(pairs []scaledPair, m, rank int) (*decomposition, energies, error) {
	v := b.newValues(pairs, m, 0)
	s := &blended{values: v, scratch: make([]blendedRows, b.pool.Workers())}
	var rows, columns int
	for i, p := range pairs {
		c := changeOf(p.Pair, p.scale)
		s.changes = append(s.changes, c)
		rows, columns, s.first = c.rows, c.columns, m*c.rows
		v.weights[i] = 1 // the changes have their strengths
	}
	if b.Method == TIES {
		for i := range pairs {
			one := &sketch{pool: b.pool, from: &oneChange{s.changes[i], s.first}, rows: rows, columns: columns}
			var err error
			v.least[i] = least(b.Density, rows*columns, func(use func([]float32)) error {
				err = one.pass(nil, func(_, _ int, d []float32) { use(d) })
				return err
			})
			if err != nil {
				return nil, energies{}, err
			}
		}
	}
	found, err := newSketch(b.pool, s, rows, columns, b.Seed, streamOf(pairs[0].Tensor, m, 0))
	if err != nil || found.all.changes == 0 {
		return &decomposition{rows: rows, columns: columns}, energies{}, err
	}
	d, err := found.decompose(goal{rank: rank})
	return d, found.all, err
}

// changeOf is what a pair with that scale adds to its tensor.
func changeOf(p *Pair, scale float32) *change {
	_, _, rows, columns := p.sides(0)
	shape := []int{columns, rows, p.matrices()}
	c := &change{from: &gguf.Tensor{Name: p.Tensor, Type: gguf.F32, Shape: shape}, rank: p.Rank(), rows: rows, columns: columns}
	c.bind(p, scale)
	return c
}

// oneChange is a matrix of a change, from row first on.
type oneChange struct {
	*change
	first int
}

func (o *oneChange) fill(_ int, dst []float32, first, end int, _ *energies) error {
	for row := first; row < end; row++ {
		o.delta(dst[(row-first)*o.columns:][:o.columns], o.first+row)
	}
	return nil
}

// blended is a matrix that several changes are blended to.
type blended struct {
	changes []*change
	first   int // row of the stack
	values  *values
	scratch []blendedRows // of each worker
}

// blendedRows holds a row of each change.
type blendedRows struct{ values }

func (s *blended) fill(worker int, dst []float32, first, end int, sums *energies) error {
	w := &s.scratch[worker]
	if w.parts == nil {
		w.values = *s.values
		w.parts = make([][]float32, len(s.changes))
		for i, c := range s.changes {
			w.parts[i] = make([]float32, c.columns)
		}
	}
	columns := s.changes[0].columns
	for row := first; row < end; row++ {
		for i, c := range s.changes {
			c.delta(w.parts[i], s.first+row)
		}
		to := dst[(row-first)*columns:][:columns]
		w.blend(to, row*columns)
		if sums != nil {
			for _, v := range to {
				sums.changes += float64(v) * float64(v)
			}
		}
	}
	return nil
}

// values are as many values of each adapter, which are blended one by one.
type values struct {
	method  Method
	density float64
	parts   [][]float32
	weights []float32
	least   []float32 // TIES: the smallest magnitude that is kept of each adapter
	seeds   []uint64  // DARE: of what is kept
}

// newValues is for matrix m, of the changes (part 0), of A (1) or of B (2).
func (b *blending) newValues(pairs []scaledPair, m, part int) *values {
	n := len(pairs)
	v := &values{method: b.Method, density: b.Density, parts: make([][]float32, n), weights: make([]float32, n), least: make([]float32, n), seeds: make([]uint64, n)}
	for i, p := range pairs {
		v.seeds[i] = splitmix.Mix(splitmix.Mix(b.Seed+uint64(p.owner)) + streamOf(p.Tensor, m, dropping+part))
	}
	return v
}

// dropping is the purpose of the random numbers that say what DARE keeps, see streamOf.
const dropping = 2

// blend stores what becomes of the parts, which begin with element first, in dst.
func (v *values) blend(dst []float32, first int) {
	for i := range dst {
		dst[i] = v.element(i, uint64(first+i))
	}
}

// element blends the values at i, of element n of the matrix.
func (v *values) element(i int, n uint64) float32 {
	sum, positive, negative := float32(0), float32(0), float32(0)
	ups, downs := 0, 0
	for a, part := range v.parts {
		x := part[i]
		switch v.method {
		case TIES:
			if float32(math.Abs(float64(x))) < v.least[a] {
				continue
			}
		case DARE, DARETIES:
			if !kept(v.seeds[a], n, v.density) {
				continue
			}
			x = float32(float64(x) / v.density)
		}
		x = float32(x * v.weights[a])
		sum += x
		switch {
		case x > 0:
			positive, ups = positive+x, ups+1
		case x < 0:
			negative, downs = negative+x, downs+1
		}
	}
	switch {
	case !v.method.elects():
		return sum
	case sum >= 0 && ups > 0:
		return positive / float32(ups)
	case sum < 0:
		return negative / float32(downs)
	}
	return 0
}

// kept says whether DARE keeps element n.
func kept(seed, n uint64, density float64) bool {
	return float64(splitmix.Mix(seed+n)>>11)/(1<<53) < density
}

// least is the smallest magnitude among the share of n values that is largest, at least of one.
// Values that are as large are kept with it, as in the authors' code. pass gives all values
// to use, twice: they are counted by the upper and then by the lower half of their bits.
func least(share float64, n int, pass func(use func([]float32)) error) float32 {
	left := max(1, int(share*float64(n)))
	var counts [1 << 16]int
	// rank finds the bin in which the count from above reaches left, and takes off what lies above.
	rank := func() uint32 {
		for bin := len(counts) - 1; bin > 0; bin-- {
			if counts[bin] >= left {
				return uint32(bin)
			}
			left -= counts[bin]
		}
		return 0
	}
	magnitude := func(x float32) uint32 { return math.Float32bits(x) &^ (1 << 31) }
	if pass(func(v []float32) {
		for _, x := range v {
			counts[magnitude(x)>>16]++
		}
	}) != nil {
		return 0
	}
	upper := rank()
	clear(counts[:])
	if pass(func(v []float32) {
		for _, x := range v {
			if b := magnitude(x); b>>16 == upper {
				counts[b&0xffff]++
			}
		}
	}) != nil {
		return 0
	}
	return math.Float32frombits(upper<<16 | rank())
}
