package lora

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"qtool/gguf"
	"qtool/internal/work"
	"qtool/quantize"
)

// Spectrum tells how large the change ΔW = Scale(rank)·B·A of one tensor is, and in how many directions.
type Spectrum struct {
	Tensor string  `json:"tensor"`
	Rank   int     `json:"rank"`
	Scale  float32 `json:"scale"`
	// Norm is ‖ΔW‖, the Frobenius norm: the root of the sum of all squares.
	Norm float64 `json:"norm"`
	// Relative is Norm/‖W‖; 0 without a base.
	Relative float64 `json:"relative,omitempty"`
	// EffectiveRank is exp(−Σ p·ln p) with p = σ/Σσ of the singular values σ of ΔW (Roy and
	// Vetterli, 2007): rank if all are equal, 1 if there is one. Of a stack of experts it is the mean of those
	// that change. 0 if nothing changes.
	EffectiveRank float64 `json:"effective_rank"`
	// Rank95 is the least number of singular values whose squares are 95 % of all; of a stack the
	// largest of its experts.
	Rank95 int `json:"rank_95"`
	// Values are the singular values, the largest first; of a stack those of all experts are in Experts.
	Values  []float64   `json:"singular_values,omitempty"`
	Experts [][]float64 `json:"experts,omitempty"`

	weights float64 // ‖W‖; 0 without a base
}

// SpectrumGroup is the change of several tensors as if they were one.
type SpectrumGroup struct {
	Name    string `json:"name"`
	Tensors int    `json:"tensors"`
	// Norm is ‖ΔW‖ and Relative ‖ΔW‖/‖W‖, 0 without a base.
	Norm     float64 `json:"norm"`
	Relative float64 `json:"relative,omitempty"`
	// EffectiveRank is the mean of those of the tensors that change.
	EffectiveRank float64 `json:"effective_rank"`
}

// GroupSpectra sums up spectra whose tensors have the same name by name, in order of appearance.
func GroupSpectra(spectra []Spectrum, name func(tensor string) string) []SpectrumGroup {
	var groups []SpectrumGroup
	index := map[string]int{}
	var squares, weights []float64
	var changed []int
	for _, s := range spectra {
		n := name(s.Tensor)
		i, ok := index[n]
		if !ok {
			i = len(groups)
			index[n] = i
			groups, squares, weights, changed = append(groups, SpectrumGroup{Name: n}), append(squares, 0), append(weights, 0), append(changed, 0)
		}
		groups[i].Tensors++
		squares[i], weights[i] = squares[i]+s.Norm*s.Norm, weights[i]+s.weights*s.weights
		if s.Norm > 0 {
			changed[i]++
			groups[i].EffectiveRank += s.EffectiveRank
		}
	}
	for i := range groups {
		g := &groups[i]
		g.Norm = math.Sqrt(squares[i])
		if weights[i] > 0 {
			g.Relative = math.Sqrt(squares[i] / weights[i])
		}
		if changed[i] > 0 {
			g.EffectiveRank /= float64(changed[i])
		}
	}
	return groups
}

// energyKept is the share of squares that Rank95 is about.
const energyKept = 0.95

// Spectra computes the spectrum of every pair, without computing any ΔW: with the thin QR
// decompositions L = Q·R and Rᵀ = P·S of both factors of L·R, the singular values are those of the
// small matrix R·Sᵀ. With a base, whose shapes must fit ([ErrMismatch]), norms are compared with those of its
// weights. threads 0 takes one for each CPU; progress, unless nil, gets the pairs that are done.
func Spectra(ctx context.Context, a *Adapter, base gguf.Model, threads int, progress func(done, total int)) ([]Spectrum, error) {
	if err := a.checkPairs(); err != nil {
		return nil, err
	}
	weights, err := baseNorms(ctx, a, base, threads)
	if err != nil {
		return nil, err
	}
	pool := work.NewPool(threads)
	defer pool.Close()
	spectra := make([]Spectrum, len(a.Pairs))
	for first := 0; first < len(a.Pairs); first += pool.Workers() {
		batch := a.Pairs[first:min(len(a.Pairs), first+pool.Workers())]
		errs := make([]error, len(batch))
		err := pool.RunWithin(ctx, len(batch), func(_, i int) {
			spectra[first+i], errs[i] = a.spectrum(ctx, &batch[i])
		})
		if err := errors.Join(append(errs, err)...); err != nil {
			return nil, err
		}
		if progress != nil {
			progress(first+len(batch), len(a.Pairs))
		}
	}
	for i, w := range weights {
		if spectra[i].weights = w; w > 0 {
			spectra[i].Relative = spectra[i].Norm / w
		}
	}
	return spectra, nil
}

func (a *Adapter) spectrum(ctx context.Context, p *Pair) (Spectrum, error) {
	s := Spectrum{Tensor: p.Tensor, Rank: p.Rank(), Scale: a.Scale(p.Rank())}
	squares, changed := 0.0, 0
	for m := range p.matrices() {
		if err := ctx.Err(); err != nil { // stacks of experts take long
			return s, err
		}
		values, err := p.singularValues(m)
		if err != nil {
			return s, err
		}
		for i := range values {
			values[i] *= math.Abs(float64(s.Scale))
		}
		if p.matrices() == 1 {
			s.Values = values
		} else {
			s.Experts = append(s.Experts, values)
		}
		sum := 0.0
		for _, v := range values {
			sum += v * v
		}
		squares += sum
		if sum > 0 {
			changed++
			s.EffectiveRank += effectiveRank(values)
			s.Rank95 = max(s.Rank95, rankOfEnergy(values, energyKept))
		}
	}
	s.Norm = math.Sqrt(squares)
	if changed > 0 {
		s.EffectiveRank /= float64(changed)
	}
	return s, nil
}

// effectiveRank is exp of the entropy of the shares of values in their sum.
func effectiveRank(values []float64) float64 {
	sum, entropy := 0.0, 0.0
	for _, v := range values {
		sum += v
	}
	for _, v := range values {
		if p := v / sum; p > 0 {
			entropy -= p * math.Log(p)
		}
	}
	return math.Exp(entropy)
}

// rankOfEnergy is the least number of values, which descend, with a share of all squares.
func rankOfEnergy(values []float64, share float64) int {
	all, sum := 0.0, 0.0
	for _, v := range values {
		all += v * v
	}
	for i, v := range values {
		if sum += v * v; sum >= share*all {
			return i + 1
		}
	}
	return len(values)
}

// baseNorms are the Frobenius norms of the weights of the pairs; nil without a base.
func baseNorms(ctx context.Context, a *Adapter, base gguf.Model, threads int) ([]float64, error) {
	if base == nil {
		return nil, nil
	}
	if err := checkBase(base); err != nil {
		return nil, err
	}
	s := &Sum{base: base, from: base}
	changes := make([]*change, len(a.Pairs))
	for i := range a.Pairs {
		var err error
		if changes[i], err = s.fitted(&a.Pairs[i]); err != nil {
			return nil, err
		}
	}
	pool := work.NewPool(threads)
	defer pool.Close()
	norms := make([]float64, len(a.Pairs))
	for i, c := range changes {
		squares, err := c.squares(ctx, pool)
		if err != nil {
			return nil, err
		}
		c.from.DontNeed()
		norms[i] = math.Sqrt(squares)
	}
	return norms, nil
}

// squares is the sum of the squares of all weights of the tensor. It does not depend on the number of threads.
func (c *change) squares(ctx context.Context, pool *work.Pool) (sum float64, err error) {
	size := int(c.from.RowBytes())
	step := max(1, chunkWeights/c.columns)
	var firsts []int
	for row := 0; row < c.from.Rows(); row += step {
		firsts = append(firsts, row)
	}
	for batch := range slices.Chunk(firsts, 8*pool.Workers()) {
		sums, errs := make([]float64, len(batch)), make([]error, len(batch))
		err := pool.RunWithin(ctx, len(batch), func(_, i int) {
			n := min(step, c.from.Rows()-batch[i])
			raw, row := make([]byte, n*size), make([]float32, c.columns)
			off := int64(batch[i]) * int64(size)
			if got, err := c.from.Data.ReadAt(raw, off); got < len(raw) {
				errs[i] = fmt.Errorf("reading tensor %q at byte %d: got %d of %d bytes: %w", c.from.Name, off, got, len(raw), err)
				return
			}
			for r := range n {
				c.codec.DecodeRow(row, raw[r*size:][:size])
				multiply(row, scaleAt(c.fromFactors, (batch[i]+r)/c.rows))
				for _, v := range row {
					sums[i] += float64(v) * float64(v)
				}
			}
		})
		if err := errors.Join(append(errs, err)...); err != nil {
			return 0, err
		}
		for _, v := range sums {
			sum += v
		}
	}
	if math.IsNaN(sum) || math.IsInf(sum, 0) {
		return 0, fmt.Errorf("%w: tensor %q of the base has values that are not finite", quantize.ErrInvalidWeights, c.from.Name)
	}
	return sum, nil
}
