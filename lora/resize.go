package lora

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"qtool/internal/arch"
	"qtool/internal/usage"
	"qtool/internal/work"
)

// Resizing says how [Adapter.Resize] works.
type Resizing struct {
	// Rank of every pair: those of a higher one lose the least, those of a lower one gain
	// columns of zeros in B. With Energy it is the most of one.
	Rank int
	// Energy is the share of ‖B·A‖² that each pair has to hold, as in 0.99; 0 leaves it to Rank.
	// With Energy no pair grows.
	Energy float64
	// Seed is that of the rows of A which pairs that grow get.
	Seed    uint64
	Threads int // 0 takes one for each CPU; the result does not depend on it
	// Progress, unless nil, gets how many of how many pairs are done.
	Progress func(tensor string, done, total int64)
}

// Resize is a with pairs of another rank, each as close to the old one as a pair of its rank can
// be: the singular value decomposition of B·A, computed through thin factorizations of B and A,
// without the terms of the smallest values (Eckart and Young, 1936). For a stack of
// experts, the rank is the highest that one of them needs. Fits are those of the pairs, in
// order.
//
// A pair that grows makes the same change as before: B gets zeros, and A random values as those of
// a new adapter (uniform in ±1/√columns), so that training can use them. For the embedding it is
// the other way round. Alpha follows the highest rank, so that scales stay what they were where all
// ranks are equal; metadata are kept. It fails with [ErrInvalid] if a pair is none, or with ctx's
// error when that ends.
func (a *Adapter) Resize(ctx context.Context, o Resizing) (*Adapter, []Fit, error) {
	if err := checkRank(o.Rank, o.Energy); err != nil {
		return nil, nil, err
	}
	if err := a.checkPairs(); err != nil {
		return nil, nil, err
	}
	if widest := a.widest(); o.Rank > widest {
		return nil, nil, usage.Errorf("a rank of %d: no matrix that the adapter changes has more than %d rows and columns; a rank beyond adds nothing", o.Rank, widest)
	}
	pool := work.NewPool(o.Threads)
	defer pool.Close()
	out := &Adapter{Architecture: a.Architecture, MergeOnly: a.MergeOnly, Extra: a.Extra}
	var fits []Fit
	for i := range a.Pairs {
		p, fit, err := a.Pairs[i].resized(ctx, pool, &o)
		if err != nil {
			return nil, nil, err
		}
		out.Pairs, fits = append(out.Pairs, p), append(fits, fit)
		if o.Progress != nil {
			o.Progress(p.Tensor, int64(i+1), int64(len(a.Pairs)))
		}
	}
	if a.Alpha != 0 {
		out.Alpha = a.Alpha * float32(highestRank(out)) / float32(highestRank(a))
	}
	for i := range out.Pairs {
		p := &out.Pairs[i]
		was := a.Scale(a.Pairs[i].Rank())
		if by := was / out.Scale(p.Rank()); math.Abs(float64(by)-1) > roundedScale {
			p.B.Values = scaled(p.B.Values, by)
		}
		fits[i].weigh(float64(was))
	}
	_, err := out.bound() // which finds values beyond float32
	return out, fits, err
}

// checkPairs fails with [ErrInvalid] if a pair is none.
func (a *Adapter) checkPairs() error {
	if _, err := a.bound(); err != nil {
		return err
	}
	for i := range a.Pairs {
		if err := a.Pairs[i].checkMatrices(); err != nil {
			return err
		}
	}
	return nil
}

// checkMatrices fails with [ErrInvalid] if the halves are of different numbers of matrices.
func (p *Pair) checkMatrices() error {
	if len(p.A.Shape) != len(p.B.Shape) || len(p.A.Shape) > 2 && (p.A.Shape[2] != p.B.Shape[2] || p.Tensor == arch.TokenEmbedding) {
		return fmt.Errorf("%w: the halves of %q have shapes %v and %v, which are not those of as many matrices", ErrInvalid, p.Tensor, p.A.Shape, p.B.Shape)
	}
	return nil
}

// widest is the highest rank that the change of a pair can have.
func (a *Adapter) widest() (n int) {
	for i := range a.Pairs {
		p := &a.Pairs[i]
		rows, columns := p.B.Shape[1], p.A.Shape[0]
		if p.Tensor == arch.TokenEmbedding {
			rows, columns = p.A.Shape[1], p.B.Shape[1]
		}
		n = max(n, min(rows, columns))
	}
	return n
}

// roundedScale is how far the quotient of two scales may be from 1 that differ by rounding alone.
const roundedScale = 1e-6

func highestRank(a *Adapter) (rank int) {
	for i := range a.Pairs {
		rank = max(rank, a.Pairs[i].Rank())
	}
	return rank
}

// weigh makes a fit of B·A one of scale·B·A.
func (f *Fit) weigh(scale float64) {
	f.energy *= scale * scale
	f.held *= scale * scale
}

// resized is the pair with another rank, without a change of its scale.
func (p *Pair) resized(ctx context.Context, pool *work.Pool, o *Resizing) (Pair, Fit, error) {
	of, err := p.decompositions(ctx, pool)
	if err != nil {
		return Pair{}, Fit{}, err
	}
	old, rank, short := p.Rank(), o.Rank, false
	if o.Energy > 0 {
		rank = 1
		for _, d := range of {
			rank = max(rank, min(old, d.rankFor(o.Energy, d.energy(old))))
		}
		if o.Rank > 0 && rank > o.Rank {
			rank, short = o.Rank, true
		}
	}
	var all energies
	held := 0.0
	for _, d := range of {
		all.changes += d.energy(len(d.values))
		held += d.energy(rank)
	}
	f := fitOf(p.Tensor, rank, held, all)
	f.Short = short
	switch {
	case rank > old:
		return p.grown(rank, o.Seed), f, nil
	case rank == old:
		return *p, f, nil
	}
	return pairOf(p.Tensor, of, rank, len(p.B.Shape) > 2, 1), f, nil
}

// decompositions are those of all matrices of the pair.
func (p *Pair) decompositions(ctx context.Context, pool *work.Pool) ([]*decomposition, error) {
	of, errs := make([]*decomposition, p.matrices()), make([]error, p.matrices())
	err := pool.RunWithin(ctx, len(of), func(_, m int) { of[m], errs[m] = p.decompose(m) })
	if err == nil {
		err = firstError(errs)
	}
	return of, err
}

// grown is the pair with a higher rank and the same change. Experts whose pair is zero stay zero.
func (p *Pair) grown(rank int, seed uint64) Pair {
	old, out := p.Rank(), Pair{Tensor: p.Tensor}
	random, zero, rng := &out.A, &out.B, rand.New(rand.NewPCG(seed, streamOf(p.Tensor, 0, growing)))
	if p.Tensor == arch.TokenEmbedding {
		random, zero = &out.B, &out.A
		random.Shape, random.Values = widerRows(p.B, old, rank)
		zero.Shape, zero.Values = widerRows(p.A, old, rank)
		for row := 0; row < len(random.Values); row += rank {
			fillUniform(random.Values[row+old:row+rank], rng, p.B.Shape[1])
		}
		return out
	}
	zero.Shape, zero.Values = widerRows(p.B, old, rank)
	columns, count := p.A.Shape[0], p.matrices()
	random.Shape = slices.Clone(p.A.Shape)
	random.Shape[1] = rank
	random.Values = make([]float32, count*rank*columns)
	for m := range count {
		to, from := random.Values[m*rank*columns:][:rank*columns], p.A.Values[m*old*columns:][:old*columns]
		copy(to, from)
		if !allZero(from) {
			fillUniform(to[old*columns:], rng, columns)
		}
	}
	return out
}

// growing is the purpose of the random numbers of pairs that grow, see streamOf.
const growing = 1

func fillUniform(v []float32, rng *rand.Rand, width int) {
	bound := 1 / math.Sqrt(float64(width))
	for i := range v {
		v[i] = float32((2*rng.Float64() - 1) * bound)
	}
}

// widerRows is a half whose rows hold the ranks, with zeros behind them.
func widerRows(h Half, old, rank int) ([]int, []float32) {
	shape := slices.Clone(h.Shape)
	shape[0] = rank
	values := make([]float32, len(h.Values)/old*rank)
	for row := range len(h.Values) / old {
		copy(values[row*rank:], h.Values[row*old:][:old])
	}
	return shape, values
}
