package nn

// Blanks makes trainable parameters without content, to rehearse passes and to time
// them, in less memory than they would take. All share the same values, zeros that are
// never written. Gradients are written, and shared by the parameters of one role: those
// that are never computed at the same time, such as the weight of that name in each layer.
type Blanks struct {
	values    []float32
	gradients map[string][]float32
}

// Param makes one.
func (b *Blanks) Param(name, role string, shape ...int) *Param {
	n := 1
	for _, d := range shape {
		n *= d
	}
	if len(b.values) < n {
		b.values = make([]float32, n)
	}
	if b.gradients == nil {
		b.gradients = map[string][]float32{}
	}
	if len(b.gradients[role]) < n {
		b.gradients[role] = make([]float32, n)
	}
	return &Param{Name: name, Shape: shape, Data: b.values[:n], Grad: b.gradients[role][:n]}
}
