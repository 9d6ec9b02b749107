package loop

import (
	"context"
	"fmt"
	"math"
	"slices"

	"qtool/internal/dataset"
)

// guard tells a row that is hard from weights that training has spoilt. A high loss is
// only a reason to look: what decides is the loss of rows that were computed before.
type guard struct {
	average float64 // of the losses of applied steps, moving
	last    float64 // loss of the last applied step
	bound   float64 // twice the loss of guessing: far worse than knowing nothing
	skipped int     // steps in a row whose loss or gradient was not finite
	// recent are the last rows whose loss was finite, as indices into Setup.Rows: the
	// rows that tell whether the weights are sound.
	recent []int
	// Rollbacks since a good state was captured, and in all. Each halves the rate.
	failures, rollbacks int
	looked              int // the step after which a good state was last looked for
}

const (
	// suspicious is how many times the average a loss is when it makes the guard look.
	suspicious = 4
	// recentRows is how many rows are remembered. Weights are sound as soon as one row
	// says so, so that the others seldom cost anything.
	recentRows = 8
	// worse is how many times its loss with the last good weights a row's loss is when
	// it speaks against the weights.
	worse = 2
	// skipLimit ends a run of which so many steps in a row could not be computed.
	skipLimit = 9
	// failureLimit ends a run that was rolled back so often to the same state.
	failureLimit = 10
)

func newGuard(vocabulary int) *guard {
	return &guard{bound: 2 * math.Log(float64(max(vocabulary, 2)))}
}

// notFinite says which of a step's loss and gradient norm is no number that can be
// applied, or "".
func notFinite(loss, norm float64) string {
	switch {
	case !finite(loss):
		return fmt.Sprintf("the loss is %g", loss)
	case !finite(norm):
		return fmt.Sprintf("the gradient norm is %g", norm)
	}
	return ""
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// looksBad reports whether a finite loss is a reason to look at the weights.
func (g *guard) looksBad(loss float64) bool {
	return g.average > 0 && loss > suspicious*g.average && loss > g.bound
}

// applied counts a step: its loss, and the rows that it was computed on.
func (g *guard) applied(loss float64, rows []int) {
	g.skipped, g.last = 0, loss
	if g.average == 0 {
		g.average = loss
	} else {
		g.average += 0.05 * (loss - g.average)
	}
	for _, row := range rows {
		if i := slices.Index(g.recent, row); i >= 0 {
			g.recent = slices.Delete(g.recent, i, i+1)
		}
		g.recent = append(g.recent, row)
	}
	g.recent = slices.Delete(g.recent, 0, max(0, len(g.recent)-recentRows))
}

// rateScale is what remains of the learning rate after rollbacks.
func (g *guard) rateScale() float64 { return math.Ldexp(1, -g.rollbacks) }

// spoilt reports whether training has ruined the weights, and how that shows. Either the
// loss of every recent row is not finite, or far worse than guessing and than what the
// last good weights make of the same row; or one of the rows at hand can be computed with
// the last good weights and not with these. Weights that were not changed since the last
// good state are sound.
func (r *Run) spoilt(ctx context.Context, atHand []int) (why string, err error) {
	if r.trained.updates == r.good.updates {
		return "", nil
	}
	err = r.Pool.Within(ctx, func() error {
		if why = r.askRecentRows(); why == "" {
			why = r.askRowsAtHand(atHand)
		}
		return nil
	})
	return why, err
}

func (r *Run) askRecentRows() (why string) {
	now := make([]float64, 0, recentRows)
	for _, row := range r.guard.recent {
		loss := r.lossOf(row)
		if loss <= r.guard.bound {
			return ""
		}
		now = append(now, loss)
	}
	r.good.exchange(r.trained)
	defer r.good.exchange(r.trained)
	for i, row := range r.guard.recent {
		before := r.lossOf(row)
		if finite(now[i]) && now[i] <= worse*before {
			return ""
		}
		if why == "" {
			why = fmt.Sprintf("the loss of rows learned before went from %.3g at step %d to %.3g", before, r.good.step, now[i])
		}
	}
	return why
}

func (r *Run) askRowsAtHand(rows []int) (why string) {
	rows = slices.DeleteFunc(slices.Clone(rows), func(row int) bool { return finite(r.lossOf(row)) })
	r.good.exchange(r.trained)
	defer r.good.exchange(r.trained)
	for _, row := range rows {
		if before := r.lossOf(row); finite(before) {
			return fmt.Sprintf("the loss of rows went from %.3g with the weights of step %d to what is no finite number", before, r.good.step)
		}
	}
	return ""
}

// lossOf is the mean loss of one row with the weights as they are.
func (r *Run) lossOf(row int) float64 {
	sum, weight := r.learner.loss([]dataset.Row{r.Rows[row]})
	if weight == 0 {
		return 0
	}
	return sum / weight
}
