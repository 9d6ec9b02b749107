package lora

import (
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/blas/blas64"

	"qtool/internal/kernel/product"
	"qtool/internal/splitmix"
	"qtool/quantize"
)

// rowSource is a matrix whose rows are computed as they are needed.
type rowSource interface {
	// fill stores rows first to end-1 in dst, one after the other. Several workers may call it
	// at once. It adds what it finds to sums, unless nil.
	fill(worker int, dst []float32, first, end int, sums *energies) error
}

// energies are sums of squares: of the changes, and of the weights that they change.
type energies struct {
	changes, weights float64
	row              float64 // the largest quotient of both in a row
}

func (e *energies) join(o energies) {
	e.changes, e.weights, e.row = e.changes+o.changes, e.weights+o.weights, max(e.row, o.row)
}

const (
	// passWeights is about how many values are multiplied at once, in whole rows. Sums follow
	// its bounds, so that it is part of what defines results.
	passWeights = 1 << 22
	// heldWeights is how many values of a matrix are held between passes; larger ones are
	// computed again in each.
	heldWeights = 1 << 26
)

// sketch finds the leading singular values and vectors of a matrix by multiplying with few
// vectors: N. Halko, P. G. Martinsson, J. A. Tropp, "Finding structure with randomness", SIAM
// Review 53 (2011), algorithms 4.4 (subspace iteration, orthonormal after every product) and 5.1.
// All vectors are kept as rows. It must be used within the pool's [product.Pool.Within].
type sketch struct {
	pool          *product.Pool
	from          rowSource
	rows, columns int
	rng           *rand.Rand

	hold bool        // chunks are held, which they are not if the matrix is too large
	held [][]float32 // nil before the first pass
	all  energies    // of the whole matrix
}

// newSketch reads the matrix once. The seed is that of the user, and the stream one of the matrix.
func newSketch(pool *product.Pool, from rowSource, rows, columns int, seed, stream uint64) (*sketch, error) {
	s := &sketch{pool: pool, from: from, rows: rows, columns: columns, rng: rand.New(rand.NewPCG(seed, stream))}
	s.hold = rows*columns <= heldWeights
	err := s.pass(&s.all, func(int, int, []float32) {})
	if err == nil && !(s.all.changes <= math.MaxFloat64) {
		err = fmt.Errorf("%w: its values are not all finite", quantize.ErrInvalidWeights)
	}
	return s, err
}

// streamOf is a stream of random numbers for matrix m of a tensor, and for one of several purposes.
func streamOf(tensor string, m, purpose int) uint64 {
	h := fnv.New64a()
	h.Write([]byte(tensor))
	return splitmix.Mix(splitmix.Mix(h.Sum64()+uint64(m)) + uint64(purpose))
}

// chunk is how many rows are multiplied at once.
func (s *sketch) chunk() int { return min(max(1, passWeights/s.columns), s.rows) }

// pass gives use the rows of the matrix, chunk by chunk.
func (s *sketch) pass(sums *energies, use func(first, n int, d []float32)) error {
	most := s.chunk()
	if s.held != nil {
		for i, d := range s.held {
			use(i*most, len(d)/s.columns, d)
		}
		return nil
	}
	piece := max(1, chunkWeights/s.columns)
	var d []float32
	var held [][]float32
	for first := 0; first < s.rows; first += most {
		n := min(most, s.rows-first)
		if d == nil || s.hold {
			d = make([]float32, n*s.columns)
		}
		if s.hold {
			held = append(held, d)
		}
		parts := (n + piece - 1) / piece
		errs, found := make([]error, parts), make([]energies, parts)
		s.pool.Run(parts, func(worker, i int) {
			from, to := i*piece, min(n, (i+1)*piece)
			var e *energies
			if sums != nil {
				e = &found[i]
			}
			errs[i] = s.from.fill(worker, d[from*s.columns:to*s.columns], first+from, first+to, e)
		})
		if err := firstError(errs); err != nil {
			return err
		}
		for _, e := range found { // in order, so that bits do not depend on threads
			if sums != nil {
				sums.join(e)
			}
		}
		use(first, n, d[:n*s.columns])
	}
	s.held = held
	return nil
}

// times computes x·Dᵀ for count rows x of columns values.
func (s *sketch) times(x []float32, count int) ([]float32, error) {
	y := make([]float32, count*s.rows)
	var part []float32
	err := s.pass(nil, func(first, n int, d []float32) {
		part = slices.Grow(part[:0], count*n)[:count*n]
		clear(part)
		product.Forward(s.pool, part, x, count, product.Float32Matrix(d, n, s.columns))
		for i := range count {
			copy(y[i*s.rows+first:], part[i*n:][:n])
		}
	})
	return y, err
}

// back computes y·D for count rows y of rows values.
func (s *sketch) back(y []float32, count int) ([]float32, error) {
	z := make([]float32, count*s.columns)
	var part []float32
	err := s.pass(nil, func(first, n int, d []float32) {
		part = slices.Grow(part[:0], count*n)[:count*n]
		for i := range count {
			copy(part[i*n:][:n], y[i*s.rows+first:])
		}
		product.Backward(s.pool, z, part, count, product.Float32Matrix(d, n, s.columns))
	})
	return z, err
}

const (
	// iterations is how often the subspace is multiplied with DᵀD after the first product.
	iterations = 3
	// firstRank is the rank that is tried first when the share decides.
	firstRank = 16
)

// margin is how many vectors more than a rank are multiplied, so that its last ones come out well.
func margin(rank int) int { return 16 + rank/4 }

// goal is how many terms of a decomposition are wanted.
type goal struct {
	rank  int     // so many; with a share, no more than that
	share float64 // as few as hold that share of the energy; 0: rank alone counts
}

// decompose finds as many terms as the goal asks for.
func (s *sketch) decompose(g goal) (*decomposition, error) {
	full := min(s.rows, s.columns)
	most, first := min(full, g.rank), min(full, g.rank)
	if g.share > 0 {
		first = min(first, firstRank)
	}
	count := min(full, first+margin(first))
	x := s.gaussian(count)
	for {
		d, q, err := s.leading(x, count)
		if err != nil {
			return nil, err
		}
		rank := most
		if g.share > 0 {
			rank = min(d.rankFor(g.share, s.all.changes), most)
		}
		enough := min(full, rank+margin(rank))
		if g.share == 0 || count >= enough && (rank < len(d.values) || count >= min(full, most+margin(most))) {
			d.truncate(rank)
			return d, nil
		}
		more := min(full, most+margin(most), max(2*count, enough))
		x = append(q, s.gaussian(more-count)...)
		count = more
	}
}

func (s *sketch) gaussian(count int) []float32 {
	x := make([]float32, count*s.columns)
	for i := range x {
		x[i] = float32(s.rng.NormFloat64())
	}
	return x
}

// leading finds as many terms as x has rows, the last ones roughly, and an orthonormal basis of the
// rows of D that x led to.
func (s *sketch) leading(x []float32, count int) (*decomposition, []float32, error) {
	rounds := iterations
	if count == min(s.rows, s.columns) { // the vectors span everything
		rounds = 0
	}
	var y, z, p []float32
	for {
		var err error
		if y, err = s.times(x, count); err != nil {
			return nil, nil, err
		}
		s.orthonormal(y, count, s.rows)
		if z, err = s.back(y, count); err != nil {
			return nil, nil, err
		}
		p = slices.Clone(z)
		s.orthonormal(p, count, s.columns)
		if rounds--; rounds < 0 {
			break
		}
		x = p
	}
	// D is near yᵀ·z, and z is core·p.
	core := make([]float32, count*count)
	product.Forward(s.pool, core, z, count, product.Float32Matrix(p, count, s.columns))
	u, values, v, err := smallSVD(blas64.General{Rows: count, Cols: count, Stride: count, Data: widened(core)})
	if err != nil {
		return nil, nil, errors.Join(quantize.ErrInvalidWeights, err)
	}
	d := &decomposition{rows: s.rows, columns: s.columns, values: values}
	d.left, d.right = s.rotated(u, y, s.rows), s.rotated(v, p, s.columns)
	return d, p, nil
}

// rotated is wᵀ·q for an orthogonal w.
func (s *sketch) rotated(w blas64.General, q []float32, n int) []float32 {
	out := make([]float32, w.Cols*n)
	product.Backward(s.pool, out, exchanged(narrowed(w.Data), w.Rows, w.Cols), w.Cols, product.Float32Matrix(q, w.Rows, n))
	return out
}

// orthonormalBlock is how many rows are made orthonormal among themselves at once.
const orthonormalBlock = 16

// dependent is how long what is left of a vector of length 1 must be at least, once its parts along
// others are taken away a second time, for it not to depend on them.
const dependent = 0.5

// orthonormal makes count rows of n values orthonormal by block Gram-Schmidt, at least twice. Rows
// that depend on others become zero, at the end of their block; the rest of the block is then
// projected again, since parts along their directions, which are noise, were taken from it.
func (s *sketch) orthonormal(v []float32, count, n int) {
	for first := 0; first < count; first += orthonormalBlock {
		before := product.Float32Matrix(v[:first*n], first, n)
		left := min(orthonormalBlock, count-first)
		for round, dropped := 0, true; round < 2 || dropped; round++ {
			block := v[first*n:][:left*n]
			if first > 0 {
				c := make([]float32, left*first)
				product.Forward(s.pool, c, block, left, before)
				for i := range c {
					c[i] = -c[i]
				}
				product.Backward(s.pool, block, c, left, before)
			}
			was := left
			left = orthonormalRows(block, left, n, round > 0)
			dropped = round > 0 && left < was && left > 0
		}
	}
}

// orthonormalRows makes count rows orthonormal among themselves and returns how many are left if
// dependent ones are dropped, for which zeros follow.
func orthonormalRows(block []float32, count, n int, drop bool) (left int) {
	q, l := rowFactors(block, count, n)
	clear(block)
	for i := range q.Rows {
		if drop && math.Abs(l.Data[i*l.Cols+i]) < dependent {
			continue
		}
		for k, x := range q.Data[i*n:][:n] {
			block[left*n+k] = float32(x)
		}
		left++
	}
	return left
}
