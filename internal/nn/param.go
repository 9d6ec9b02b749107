package nn

import (
	"slices"

	"qtool/internal/kernel/product"
)

// Param is a named array of float32 that takes part in the model: a norm
// weight, a bias, A or B of a LoRA pair, or a whole matrix when full weights
// are trained. Grad is nil while it is frozen.
type Param struct {
	Name  string
	Shape []int // in ggml order, Shape[0] is the row length
	Data  []float32
	Grad  []float32

	views []paramView // of Data
	slab  *Slab       // that it lies in, if any
}

// NewParam makes a zero-filled frozen parameter.
func NewParam(name string, shape ...int) *Param {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return &Param{Name: name, Shape: shape, Data: make([]float32, n)}
}

// Train makes p trainable.
func (p *Param) Train() {
	if p.Grad == nil {
		p.Grad = make([]float32, len(p.Data))
	}
}

// Trainable reports whether gradients are collected for p.
func (p *Param) Trainable() bool { return p != nil && p.Grad != nil }

// Weight is a matrix of Rows × Cols, or a stack of Experts of them, in the type
// it has in the file.
type Weight struct {
	Name                string
	Rows, Cols, Experts int
	// Expert holds one matrix per expert, one in all for a plain weight.
	Expert []product.Matrix
	// Param is set while the weight itself is trained; Expert then views its data.
	Param *Param
}

// FrozenWeight is a weight over matrices of one shape, one per expert.
func FrozenWeight(name string, experts ...product.Matrix) *Weight {
	return &Weight{Name: name, Rows: experts[0].Rows, Cols: experts[0].Cols, Experts: len(experts), Expert: experts}
}

// ParamWeight is a weight over p, whose shape is [cols, rows] or
// [cols, rows, experts]. It is trained if p is.
func ParamWeight(p *Param) *Weight {
	w := &Weight{Name: p.Name, Cols: p.Shape[0], Rows: p.Shape[1], Experts: 1, Param: p}
	if len(p.Shape) > 2 {
		w.Experts = p.Shape[2]
	}
	w.Expert = make([]product.Matrix, w.Experts)
	for e := range w.Expert {
		p.view(&w.Expert[e], e*w.Rows*w.Cols, w.Rows, w.Cols)
	}
	return w
}

func (w *Weight) trainable() bool { return w.Param.Trainable() }

// expertGrad is the gradient of expert e's matrix; nil while w is frozen.
func (w *Weight) expertGrad(e int) []float32 {
	if !w.trainable() {
		return nil
	}
	n := w.Rows * w.Cols
	return w.Param.Grad[e*n : (e+1)*n]
}

// LoRAPair is a LoRA pair over a weight: y += Scale·B(A x). In ggml order A is [in, rank] and B
// is [rank, out]; for experts they are stacks, [in, rank, experts] and [rank, out, experts].
type LoRAPair struct {
	A, B  *Param
	Rank  int
	Scale float32
	// Experts are those that A and B hold, ascending: the others have no pair.
	// nil means all.
	Experts []int32

	a, b      []product.Matrix // those of each expert, once they are needed
	roundable bool             // as their bases are
}

// view makes the matrices of a pair on w.
func (p *LoRAPair) view(w *Weight) {
	if p.a != nil {
		return
	}
	p.a, p.b, p.roundable = make([]product.Matrix, w.Experts), make([]product.Matrix, w.Experts), w.Expert[0].Encoded()
	for e := range w.Experts {
		at := e
		if p.Experts != nil {
			found := false
			if at, found = slices.BinarySearch(p.Experts, int32(e)); !found {
				continue
			}
		}
		p.A.view(&p.a[e], at*p.Rank*w.Cols, p.Rank, w.Cols)
		p.B.view(&p.b[e], at*w.Rows*p.Rank, w.Rows, p.Rank)
		if p.roundable { // a pair is multiplied in what its base is
			p.a[e], p.b[e] = p.a[e].Roundable(), p.b[e].Roundable()
		}
	}
}

// outer lists the gradient of A or B, dyᵀ·x of each expert that has a pair.
func (p *LoRAPair) outer(b *product.Batch, matrix *Param, dy, x product.Rows) {
	switch {
	case !matrix.Trainable():
	case p.Experts != nil:
		b.OuterOf(p.Experts, matrix.Grad, dy, x, p.roundable)
	default:
		b.Outer(matrix.Grad, dy, x, p.roundable)
	}
}

func (p *LoRAPair) trainable() bool { return p != nil && (p.A.Trainable() || p.B.Trainable()) }

// matrixOf is matrix e of a stack v [experts, rows, cols].
func matrixOf(v []float32, e, rows, cols int) []float32 {
	if v == nil {
		return nil
	}
	return v[e*rows*cols : (e+1)*rows*cols]
}

// Linear is a weight with an optional bias and an optional LoRA pair. The bias
// has Rows elements, for experts Rows per expert.
type Linear struct {
	*Weight
	Bias *Param
	Pair *LoRAPair
}

func (l *Linear) trainable() bool {
	return l.Weight.trainable() || l.Bias.Trainable() || l.Pair.trainable()
}
