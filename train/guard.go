package train

import (
	"fmt"
	"math"
)

// guard decides whether a step may be applied.
type guard struct {
	average float64 // of the losses of applied steps, moving
	bound   float64 // a loss that a model which knows nothing stays below
	bad     int     // steps refused in a row
}

// badLimit is how many steps in a row are dropped before the last good state
// is put back.
const badLimit = 3

func newGuard(vocabulary int) *guard {
	return &guard{bound: 2 * math.Log(float64(max(vocabulary, 2)))}
}

// refuse returns why a step must not be applied, or "". A loss explodes when
// it is four times the moving average and worse than guessing by far.
func (g *guard) refuse(loss, norm float64) string {
	switch {
	case math.IsNaN(loss) || math.IsInf(loss, 0):
		return fmt.Sprintf("the loss is %g", loss)
	case math.IsNaN(norm) || math.IsInf(norm, 0):
		return fmt.Sprintf("the gradient norm is %g", norm)
	case g.average > 0 && loss > 4*g.average && loss > g.bound:
		return fmt.Sprintf("the loss jumped from about %.3g to %.3g", g.average, loss)
	}
	return ""
}

func (g *guard) applied(loss float64) {
	g.bad = 0
	if g.average == 0 {
		g.average = loss
		return
	}
	g.average += 0.05 * (loss - g.average)
}
