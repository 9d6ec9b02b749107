package quantize

import (
	"fmt"
	"math"

	"qtool/gguf"
	"qtool/internal/arch"
)

// Sensitivity is how much a model's predictions depend on each weight of a tensor: the
// square of the gradient of the log probability of a token drawn from the model's own
// predictions, per token, is Rows[i]·Columns[j]/ΣRows in the mean. To second order an
// error of the weights then costs half the sum of its squares so weighted, in nats of
// KL divergence per token.
type Sensitivity struct {
	Rows    []float32 // for each row, of one matrix after the other
	Columns []float32 // for each column of each matrix
}

// check makes sure that s fits t.
func (s *Sensitivity) check(t *gguf.Tensor) error {
	if want := t.Rows(); len(s.Rows) != want {
		return fmt.Errorf("tensor %q: its sensitivity has %d rows, expected %d for shape %v", t.Name, len(s.Rows), want, t.Shape)
	}
	if want := t.Shape[0] * matrices(t); len(s.Columns) != want {
		return fmt.Errorf("tensor %q: its sensitivity has %d columns, expected %d for shape %v", t.Name, len(s.Columns), want, t.Shape)
	}
	return nil
}

// roleCosts are what an error of a matrix as large as the matrix itself would cost where
// that was not measured, in nats per token: for a head, and divided among the layers for
// what is inside them, of which the first suffers most. They are rough means of what
// Sensitivity gave for small trained models (docs/benchmarks.md), and agree with the bits
// that the mixes give to heads of models of 32 layers. The size of a matrix counts more:
// what is small is cheap to store well.
var roleCosts = map[role]float64{
	head: 6, embedding: 2,
	query: 1, key: 1.4, value: 2, projection: 1.2,
	gate: 2, up: 2, down: 3.5,
	other: 2,
}

// firstLayer is how much more the first layer suffers than the mean.
const firstLayer = 2

// roleCost is the cost of an error as large as t itself, by experience.
func (c *choice) roleCost(t *gguf.Tensor) float64 {
	r := roleOf(t.Name)
	if _, untied := c.plan.source.Tensor(arch.Output); r == embedding && !untied {
		return roleCosts[head] + roleCosts[embedding]
	}
	if r == head || r == embedding {
		return roleCosts[r]
	}
	cost := roleCosts[r] / float64(max(1, c.layers))
	if arch.LayerOf(t.Name) == 0 {
		cost *= firstLayer
	}
	return cost
}

// Estimate is what the type of one tensor is expected to cost.
type Estimate struct {
	// Error is the weighted root mean square error relative to the weights themselves.
	Error float64 `json:"relative_error"`
	// Cost is the KL divergence per token that comes of it, in nats.
	Cost float64 `json:"estimated_cost"`
}

// String is two columns of a table, nothing for nil.
func (e *Estimate) String() string {
	if e == nil {
		return ""
	}
	return fmt.Sprintf("%.4f\t%.3g\t", e.Error, e.Cost)
}

// estimates turn the trial's errors for each type into what they cost; nil where the
// errors are. s may be nil.
func (r *trial) estimates(errors [][]float64, s *Sensitivity, role float64) []*Estimate {
	list := make([]*Estimate, len(errors))
	energy := r.total(r.energies(), s)
	for k, e := range errors {
		if e == nil {
			continue
		}
		sum := r.total(e, s)
		list[k] = &Estimate{}
		if energy > 0 {
			list[k].Error = math.Sqrt(sum / energy)
		}
		if list[k].Cost = sum / 2; s == nil {
			list[k].Cost = float64(role * list[k].Error * list[k].Error)
		}
	}
	return list
}

// total is, of each matrix, the mean over the sampled rows, weighted by their
// sensitivity, and of that the sum over all matrices.
func (r *trial) total(perRow []float64, s *Sensitivity) (sum float64) {
	n := matrices(r.tensor)
	type mean struct{ sum, weight, plain, rows float64 }
	means := make([]mean, n)
	for i, row := range r.rows {
		w := 1.0
		if s != nil {
			w = float64(s.Rows[row])
		}
		m := &means[matrixOf(r.tensor, row)]
		m.sum += float64(w * perRow[i])
		m.weight += w
		m.plain += perRow[i]
		m.rows++
	}
	for _, m := range means {
		switch {
		case m.weight > 0:
			sum += m.sum / m.weight
		case m.rows > 0:
			sum += m.plain / m.rows
		}
	}
	return sum
}
