package lora

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas64"
	"gonum.org/v1/gonum/lapack/lapack64"
	"gonum.org/v1/gonum/mat"

	"qtool/internal/arch"
)

// decomposition is the singular value decomposition of a matrix of rows × columns, or the leading
// part of one: the sum over i of values[i] · left[i] · right[i]ᵀ. Values descend. The vectors
// are orthonormal, but those of values that are 0 may be 0.
type decomposition struct {
	rows, columns int
	values        []float64
	left          []float32 // len(values) × rows
	right         []float32 // len(values) × columns
}

// energy is the square of the Frobenius norm of the first n terms.
func (d *decomposition) energy(n int) (sum float64) {
	for _, v := range d.values[:min(n, len(d.values))] {
		sum += v * v
	}
	return sum
}

// exactShare is how near to a share the sum of values computed in float32 can be known.
const exactShare = 1e-6

// rankFor is the least number of terms that hold the share of total; len(values)+1 if all do not.
func (d *decomposition) rankFor(share, total float64) int {
	sum := 0.0
	for i, v := range d.values {
		if sum += v * v; sum >= (share-exactShare)*total {
			return i + 1
		}
	}
	return len(d.values) + 1
}

// truncate drops all but the first n terms.
func (d *decomposition) truncate(n int) {
	n = min(n, len(d.values))
	d.values = slices.Clone(d.values[:n])
	d.left, d.right = slices.Clone(d.left[:n*d.rows]), slices.Clone(d.right[:n*d.columns])
}

// sides are the factors of matrix m of a pair: it is leftᵀ·right without the scale, left is
// rank × rows and right rank × columns in the shape of the tensor of the base.
func (p *Pair) sides(m int) (left, right []float32, rows, columns int) {
	rank := p.Rank()
	if p.Tensor == arch.TokenEmbedding {
		rows, columns = p.A.Shape[1], p.B.Shape[1]
		return exchanged(p.A.Values, rows, rank), exchanged(p.B.Values, columns, rank), rows, columns
	}
	rows, columns = p.B.Shape[1], p.A.Shape[0]
	return exchanged(p.B.Values[m*rows*rank:][:rows*rank], rows, rank), p.A.Values[m*columns*rank:][:columns*rank], rows, columns
}

// matrices is how many matrices the pair changes: 1, or the experts of a stack.
func (p *Pair) matrices() int {
	if len(p.B.Shape) > 2 {
		return p.B.Shape[2]
	}
	return 1
}

// energy is ‖B·A‖², without the scale of the adapter.
func (p *Pair) energy() (sum float64) {
	for m := range p.matrices() {
		left, right, rows, columns := p.sides(m)
		products := func(v []float32, n int) []float64 {
			wide, out := blas64.General{Rows: p.Rank(), Cols: n, Stride: n, Data: widened(v)}, general(p.Rank(), p.Rank())
			blas64.Gemm(blas.NoTrans, blas.Trans, 1, wide, wide, 0, out)
			return out.Data
		}
		l, r := products(left, rows), products(right, columns)
		for i, v := range l {
			sum += v * r[i]
		}
	}
	return sum
}

// decompose is the singular value decomposition of the change B·A that a pair makes to matrix m,
// without the scale of the adapter. Its cost grows with rank²·(rows+columns).
func (p *Pair) decompose(m int) (*decomposition, error) {
	left, right, rows, columns := p.sides(m)
	d, err := factor(left, right, p.Rank(), rows, columns)
	if err != nil {
		return nil, fmt.Errorf("the pair of %q: %w", p.Tensor, err)
	}
	return d, nil
}

// errNoDecomposition is the error about values for which the small decomposition does not
// converge.
var errNoDecomposition = errors.New("its singular values could not be computed")

// factor is the singular value decomposition of leftᵀ·right, where left is rank × rows and right is
// rank × columns, row by row: thin factorizations left = L₁·Q₁ and right = L₂·Q₂ with orthonormal
// rows of Q₁ and Q₂, and the decomposition of the small L₁ᵀ·L₂ between them, in float64.
func factor(left, right []float32, rank, rows, columns int) (*decomposition, error) {
	q1, l1 := rowFactors(left, rank, rows)
	q2, l2 := rowFactors(right, rank, columns)
	core := general(l1.Cols, l2.Cols)
	blas64.Gemm(blas.Trans, blas.NoTrans, 1, l1, l2, 0, core)
	u, values, v, err := smallSVD(core)
	if err != nil {
		return nil, err
	}
	n := len(values)
	vectors := func(w, q blas64.General) []float32 {
		out := general(n, q.Cols)
		blas64.Gemm(blas.Trans, blas.NoTrans, 1, w, q, 0, out)
		return narrowed(out.Data)
	}
	return &decomposition{rows, columns, values, vectors(u, q1), vectors(v, q2)}, nil
}

func general(rows, columns int) blas64.General {
	return blas64.General{Rows: rows, Cols: columns, Stride: max(columns, 1), Data: make([]float64, rows*columns)}
}

func widened(v []float32) []float64 {
	out := make([]float64, len(v))
	for i, x := range v {
		out[i] = float64(x)
	}
	return out
}

func narrowed(v []float64) []float32 {
	out := make([]float32, len(v))
	for i, x := range v {
		out[i] = float32(x)
	}
	return out
}

// rowFactors factors v, of count rows of n values, as l·q by Householder reflections: q has
// min(count,n) orthonormal rows, l is count × min(count,n) and zero above its diagonal.
func rowFactors(v []float32, count, n int) (q, l blas64.General) {
	a, tau := reflected(v, count, n)
	k := len(tau)
	l = lower(a, k)
	q = blas64.General{Rows: k, Cols: n, Stride: n, Data: a.Data[:k*n]}
	size := make([]float64, 1)
	lapack64.Orglq(q, tau, size, -1)
	work := make([]float64, int(size[0]))
	lapack64.Orglq(q, tau, work, len(work))
	return q, l
}

// reflected has l on and below its diagonal, and the reflections that make q of it above.
func reflected(v []float32, count, n int) (a blas64.General, tau []float64) {
	a = blas64.General{Rows: count, Cols: n, Stride: n, Data: widened(v)}
	tau = make([]float64, min(count, n))
	size := make([]float64, 1)
	lapack64.Gelqf(a, tau, size, -1)
	work := make([]float64, int(size[0]))
	lapack64.Gelqf(a, tau, work, len(work))
	return a, tau
}

// lower is what a has in its first k columns, on and below the diagonal.
func lower(a blas64.General, k int) blas64.General {
	l := general(a.Rows, k)
	for i := range a.Rows {
		copy(l.Data[i*k:], a.Data[i*a.Stride:][:min(i+1, k)])
	}
	return l
}

// singularValues are those of the change B·A that a pair makes to matrix m, without the scale of
// the adapter: the largest first, as many as can differ from 0.
func (p *Pair) singularValues(m int) ([]float64, error) {
	left, right, rows, columns := p.sides(m)
	k1, k2 := min(p.Rank(), rows), min(p.Rank(), columns)
	if allZero(left) || allZero(right) {
		return make([]float64, min(k1, k2)), nil
	}
	a1, _ := reflected(left, p.Rank(), rows)
	a2, _ := reflected(right, p.Rank(), columns)
	core := general(k1, k2)
	blas64.Gemm(blas.Trans, blas.NoTrans, 1, lower(a1, k1), lower(a2, k2), 0, core)
	svd, err := decomposed(core, mat.SVDNone)
	if err != nil {
		return nil, fmt.Errorf("the pair of %q: %w", p.Tensor, err)
	}
	return svd.Values(nil), nil
}

// smallSVD decomposes core as u·values·vᵀ.
func smallSVD(core blas64.General) (u blas64.General, values []float64, v blas64.General, err error) {
	svd, err := decomposed(core, mat.SVDThin)
	if err != nil {
		return u, nil, v, err
	}
	var left, right mat.Dense
	svd.UTo(&left)
	svd.VTo(&right)
	return left.RawMatrix(), svd.Values(nil), right.RawMatrix(), nil
}

func decomposed(core blas64.General, kind mat.SVDKind) (*mat.SVD, error) {
	var svd mat.SVD
	if slices.ContainsFunc(core.Data, func(x float64) bool { return math.IsNaN(x) || math.IsInf(x, 0) }) ||
		!svd.Factorize(mat.NewDense(core.Rows, core.Cols, core.Data), kind) {
		return nil, errNoDecomposition
	}
	return &svd, nil
}

// pairOf is the pair of rank on a tensor whose change, over scale, are the matrices. Terms beyond
// rank are left out, and where there are fewer, zeros fill up.
func pairOf(tensor string, of []*decomposition, rank int, stacked bool, scale float64) Pair {
	rows, columns := of[0].rows, of[0].columns
	a, b := make([]float32, len(of)*rank*columns), make([]float32, len(of)*rank*rows)
	for m, d := range of {
		for i, value := range d.values[:min(rank, len(d.values))] {
			root := math.Sqrt(value)
			for c, v := range d.right[i*columns:][:columns] {
				a[(m*rank+i)*columns+c] = float32(root * float64(v))
			}
			for r, v := range d.left[i*rows:][:rows] {
				b[(m*rows+r)*rank+i] = float32(root / scale * float64(v))
			}
		}
	}
	if tensor == arch.TokenEmbedding {
		return Pair{tensor, Half{[]int{rank, rows}, b}, Half{[]int{rank, columns}, exchanged(a, rank, columns)}}
	}
	p := Pair{tensor, Half{[]int{columns, rank}, a}, Half{[]int{rank, rows}, b}}
	if stacked {
		p.A.Shape, p.B.Shape = append(p.A.Shape, len(of)), append(p.B.Shape, len(of))
	}
	return p
}
