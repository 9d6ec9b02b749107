package nn

import (
	"math"

	"qtool/internal/kernel/vector"
)

// RouterLoss are auxiliary losses of all routers that a recording tape passes.
// Weights multiply them in the backward pass; sums are before weighing.
type RouterLoss struct {
	// Balance weighs Σ f·P over the experts, where f is an expert's share of
	// all choices times the number of experts and P its mean probability over
	// the tokens: 1 if all are equally loaded. It is that of Fedus et al.,
	// "Switch Transformers" (2021), equations 4 to 6, for several choices per
	// token as in Dai et al., "DeepSeekMoE" (2024), equations 12 to 14. The
	// probabilities are the softmax over all experts, or sigmoids divided by
	// their sum as in "DeepSeek-V3" (2024), equations 17 to 20.
	Balance float64
	// Z weighs the mean over the tokens of log(Σ exp(logit))², Zoph et al.,
	// "ST-MoE" (2022), equation 5.
	Z float64

	BalanceSum, ZSum float64
	Routers          int // that were passed
}

// routerLossAt is what one router keeps for its gradients.
type routerLossAt struct {
	weights *RouterLoss
	slope   []float32 // dloss/dP·1/tokens, [experts]
}

func (l *routerLossAt) active() bool { return l.weights != nil }

// measureLosses adds this router's losses to the sums.
func (o *routeOp) measureLosses(l *RouterLoss) {
	n, tokens := o.logits.Cols, o.logits.Rows
	o.loss = routerLossAt{l, o.t.floats.zeros(n)}
	if o.t.Pool.Rehearsing() {
		return
	}
	for _, e := range o.r.Expert {
		o.loss.slope[e]++
	}
	s := o.t.workerScratch(0, n)
	var balance, z float64
	for tok := range tokens {
		o.probabilities(tok, s)
		for e, p := range s {
			balance += float64(p) * float64(o.loss.slope[e])
		}
		logSum := logSumExp(o.logits.Row(tok), s)
		z += logSum * logSum
	}
	load := float64(n) / float64(len(o.r.Expert)) / float64(tokens)
	l.BalanceSum += balance * load
	l.ZSum += z / float64(tokens)
	l.Routers++
	scale(o.loss.slope, float32(load*l.Balance))
}

// probabilities sets s to what token tok's experts get of a sum of 1.
func (o *routeOp) probabilities(tok int, s []float32) {
	switch p := o.scores(tok); o.Gating {
	case GateSoftmax:
		copy(s, p)
	case GateSigmoid:
		copy(s, p)
		scale(s, 1/sum(p))
	case GateChosen:
		vector.Softmax(s, p)
	}
}

// logSumExp overwrites scratch.
func logSumExp(v, scratch []float32) float64 {
	highest := vector.Highest(v)
	return float64(highest) + math.Log(vector.Exp(scratch[:len(v)], v, highest))
}

// backwardLosses adds to the gradients dl of token tok's logits: with the slope d
// of the probabilities s, s·(d - Σ s·d), times 1-p for sigmoids p; and of the z
// loss 2·log(Σ exp)·softmax/tokens.
func (o *routeOp) backwardLosses(tok int, dl, scratch []float32) {
	s := scratch[:len(dl)]
	o.probabilities(tok, s)
	var dot float32
	for e, d := range o.loss.slope {
		dot += s[e] * d
	}
	p := o.scores(tok)
	for e, d := range o.loss.slope {
		g := s[e] * (d - dot)
		if o.Gating == GateSigmoid {
			g *= 1 - p[e]
		}
		dl[e] += g
	}
	if o.loss.weights.Z == 0 {
		return
	}
	logits := o.logits.Row(tok)
	logSum := logSumExp(logits, s)
	vector.Softmax(s, logits)
	vector.Axpy(dl, float32(o.loss.weights.Z*2*logSum/float64(o.logits.Rows)), s)
}
