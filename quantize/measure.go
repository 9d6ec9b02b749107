package quantize

import (
	"context"
	"math"
	"math/rand/v2"

	"qtool/gguf"
	"qtool/internal/work"
)

// Of a large tensor about sampleValues values are tried, of each matrix in it at least
// sampleRows rows if there are so many matrices that this is more.
const (
	sampleValues = 1 << 17
	sampleRows   = 2
)

// sampledRows are rows of t in ascending order, evenly spread but for a fixed random
// shift within each stretch, so that no period in the weights is caught; all if they
// are few.
func sampledRows(t *gguf.Tensor) []int {
	rows := t.Rows()
	n := max(sampleValues/t.Shape[0], sampleRows*matrices(t), 1)
	if n*2 >= rows {
		n = rows
	}
	rng := rand.New(rand.NewPCG(uint64(rows), uint64(t.Shape[0])))
	list := make([]int, n)
	for i := range list {
		from, to := i*rows/n, (i+1)*rows/n
		list[i] = from + rng.IntN(to-from)
	}
	return list
}

// trial measures what types do to sampled rows of one tensor.
type trial struct {
	tensor     *gguf.Tensor
	importance []float32 // for the encoders
	columns    []float32 // weights of squared errors, per matrix; nil is 1 for all
	rows       []int
	values     [][]float32 // of each row
}

// newTrial decodes the rows.
func newTrial(t *gguf.Tensor, importance, columns []float32) (*trial, error) {
	codec, err := Lookup(t.Type)
	if err != nil {
		return nil, err
	}
	r := &trial{tensor: t, importance: importance, columns: columns, rows: sampledRows(t)}
	bytes := t.RowBytes()
	var raw []byte
	for _, row := range r.rows {
		b, err := readData(t, int64(row)*bytes, int(bytes), &raw)
		if err != nil {
			return nil, err
		}
		values := make([]float32, t.Shape[0])
		codec.DecodeRow(values, b)
		if i := firstFrom(values, float32(math.Inf(1))); i >= 0 {
			return nil, (&conversion{tensor: t, columns: t.Shape[0]}).refuse(row, i, values[i])
		}
		r.values = append(r.values, values)
	}
	return r, nil
}

// ofMatrix is the part of per-matrix weights that is for a row; nil stays nil.
func (r *trial) ofMatrix(weights []float32, row int) []float32 {
	if weights == nil {
		return nil
	}
	m, n := matrixOf(r.tensor, row), r.tensor.Shape[0]
	return weights[m*n : (m+1)*n]
}

// matrixOf is the number of the matrix of t that a row is in.
func matrixOf(t *gguf.Tensor, row int) int {
	if len(t.Shape) < 2 {
		return 0
	}
	return row / t.Shape[1] % matrices(t)
}

// energies are Σ columns·w² of each row.
func (r *trial) energies() []float64 {
	sums := make([]float64, len(r.rows))
	for i, row := range r.rows {
		sums[i] = weightedSquares(r.values[i], nil, r.ofMatrix(r.columns, row))
	}
	return sums
}

// errors are Σ columns·(w-ŵ)² of each row for each type; nil for a type that cannot
// hold the weights. progress gets the number of values tried since the last call.
func (r *trial) errors(ctx context.Context, pool *work.Pool, types []gguf.Type, progress func(values int)) ([][]float64, error) {
	n := r.tensor.Shape[0]
	sums, scratches := make([][]float64, len(types)), make([]scratch, pool.Workers())
	for k, t := range types {
		sums[k] = make([]float64, len(r.rows))
		if t != r.tensor.Type {
			size, _ := t.RowSize(n)
			err := pool.RunWithin(ctx, len(r.rows), func(worker, i int) {
				s := &scratches[worker]
				s.raw, s.values = grown(s.raw, int(size)), grown(s.values, n)
				sums[k][i] = r.roundTrip(codecs[t], i, s.raw[:size], s.values[:n])
			})
			if err != nil {
				return nil, err
			}
			for _, sum := range sums[k] {
				if math.IsInf(sum, 0) {
					sums[k] = nil
					break
				}
			}
		}
		progress(n * len(r.rows))
	}
	return sums, nil
}

func grown[E any](s []E, n int) []E {
	if len(s) < n {
		return make([]E, n)
	}
	return s
}

// roundTrip is the error of one row; infinite if the type cannot hold it.
func (r *trial) roundTrip(c *Codec, i int, raw []byte, back []float32) float64 {
	row := r.rows[i]
	c.EncodeRow(raw, r.values[i], r.ofMatrix(r.importance, row))
	if overflows(c.typ, raw) {
		return math.Inf(1)
	}
	c.DecodeRow(back, raw)
	return weightedSquares(r.values[i], back, r.ofMatrix(r.columns, row))
}

// weightedSquares is Σ weights·(a-b)²; a nil b is 0, nil weights are 1.
func weightedSquares(a, b, weights []float32) (sum float64) {
	for j, x := range a {
		d := float64(x)
		if b != nil {
			d -= float64(b[j])
		}
		d = float64(d * d)
		if weights != nil {
			d = float64(d * float64(weights[j]))
		}
		sum += d
	}
	return sum
}
