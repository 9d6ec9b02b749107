package nn

import (
	"slices"

	"qtool/internal/kernel/product"
)

// Slab holds the values of parameters one after the other, and their gradients at the same
// places of a second slice, so that what is done to all of them is done to one slice. Each
// parameter begins with a line of the cache; elements between two parameters are zero.
type Slab struct {
	Params     []*Param
	Data, Grad []float32

	begins []int // of each parameter
}

// NewSlab moves parameters into a slab, unless they are one already. They are trainable
// there, with gradients of zero. Operators follow them; a tensor that was made of a
// parameter's Data before does not.
func NewSlab(params []*Param) *Slab {
	if len(params) > 0 && params[0].slab != nil && slices.Equal(params[0].slab.Params, params) {
		clear(params[0].slab.Grad)
		return params[0].slab
	}
	s := &Slab{Params: slices.Clone(params)}
	size := 0
	for _, p := range params {
		s.begins = append(s.begins, size)
		size += wholeLines[float32](len(p.Data))
	}
	s.Data, s.Grad = make([]float32, size), make([]float32, size)
	for i, p := range params {
		p.moveTo(s.Of(i, s.Data), s.Of(i, s.Grad))
		p.slab = s
	}
	return s
}

// Of is the part of values that belongs to parameter i. They are the slab's own, or others
// in the same order.
func (s *Slab) Of(i int, values []float32) []float32 {
	from, to := s.Range(i)
	return values[from:to:to]
}

// Range is where parameter i lies: elements from to to-1.
func (s *Slab) Range(i int) (from, to int) {
	return s.begins[i], s.begins[i] + len(s.Params[i].Data)
}

// paramView is a matrix over elements of a parameter, the first of which is element from.
type paramView struct {
	matrix *product.Matrix
	from   int
}

// view makes matrix one of rows × cols elements of p from element from on, also when p
// moves.
func (p *Param) view(matrix *product.Matrix, from, rows, cols int) {
	*matrix = product.Float32Matrix(p.Data[from:], rows, cols)
	p.views = append(p.views, paramView{matrix, from})
}

// moveTo copies the values to data. From then on p and its views lie there, and its
// gradient in grad.
func (p *Param) moveTo(data, grad []float32) {
	copy(data, p.Data)
	p.Data, p.Grad = data, grad
	for _, v := range p.views {
		*v.matrix = v.matrix.WithElements(data[v.from:])
	}
}
