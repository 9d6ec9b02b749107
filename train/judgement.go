package train

import "fmt"

// Verdict is what the held-out loss says of a run.
type Verdict string

// The verdicts.
const (
	Better    Verdict = "better"    // it fell
	Unchanged Verdict = "unchanged" // it hardly changed: nothing was learned
	Worse     Verdict = "worse"     // it rose
	Unknown   Verdict = "unknown"   // it was not measured before and after
)

// hardly is the change of a loss, as a part of it, that means nothing.
const hardly = 0.005

// judge fills in what came of the run, from the losses before and after.
func (r *Report) judge() {
	before, after := r.Before.Loss, r.After.Loss
	switch {
	case before == nil || after == nil:
		r.Verdict = Unknown
		return
	case *after > *before*(1+hardly):
		r.Verdict = Worse
		r.Judgement = fmt.Sprintf("the held-out loss rose from %.4f to %.4f: the result is worse than what the run began with", *before, *after)
		if r.Best != nil && r.Best.Loss < *before {
			r.Judgement += fmt.Sprintf(" (it was %.4f after step %d)", r.Best.Loss, r.Best.Step)
		}
		r.Judgement += "; lower --lr, take fewer --epochs or --steps, or give more data"
	case *after > *before*(1-hardly):
		r.Verdict = Unchanged
		r.Judgement = fmt.Sprintf("the held-out loss hardly changed, from %.4f to %.4f: nothing was learned; take more --epochs or --steps, or raise --lr", *before, *after)
	default:
		r.Verdict = Better
	}
}

// Lowest is the lowest held-out loss after a step.
type Lowest struct {
	Step int     `json:"step"`
	Loss float64 `json:"held_out_loss"`
}

// evaluated counts an evaluation.
func (r *Report) evaluated(step int, loss float64) {
	if step > 0 && (r.Best == nil || loss < r.Best.Loss) {
		r.Best = &Lowest{step, loss}
	}
}
