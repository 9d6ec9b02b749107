package nn

import (
	"math"

	"qtool/internal/kernel/vector"
)

// Gating turns router logits into scores to choose by and weights of the chosen.
type Gating int

const (
	// GateSoftmax scores by the softmax over all experts.
	GateSoftmax Gating = iota
	// GateSigmoid scores each expert by the sigmoid of its logit.
	GateSigmoid
	// GateChosen scores by the logits and weighs by the softmax over the chosen
	// ones, which need no normalization.
	GateChosen
)

// RouterSpec says how logits choose and weigh experts.
type RouterSpec struct {
	Gating
	Used int // experts per token
	// Identity is how many of the logits, the last ones, belong to experts that
	// give back what they get.
	Identity int
	// Bias is added to the scores for the choice, not for the weights; nil means 0.
	Bias *Param
	// Groups of neighbouring experts compete first: only the GroupsUsed best
	// are chosen from. A group is as good as its two best experts together. Up
	// to 1 group means that all experts compete.
	Groups, GroupsUsed int
	Normalize          bool // divide the chosen weights by their sum
	// Scale multiplies the weights; 0 means 1.
	Scale float32
	// Load counts the choices; nil means nobody does.
	Load *Load
}

// minWeightSum bounds the divisor of normalization from below, as llama.cpp does.
const minWeightSum = 6.103515625e-5

// Routing is the experts' choice for every token. A slot is one of a token's
// Used experts; the grouped rows list the slots again, sorted by expert, without
// those of identity experts.
type Routing struct {
	Weights *Var    // [tokens, used]
	Expert  []int32 // of each slot, [tokens·used]
	Row     []int32 // the grouped row of each slot, -1 for an identity expert; [tokens·used]
	Token   []int32 // the token of each grouped row; [grouped rows]
	Groups  []int32 // expert e owns grouped rows Groups[e] to Groups[e+1]-1
}

// Route takes router logits [tokens, experts] and chooses the experts of the
// best scores for each token. Of equal ones the lower number wins.
func (t *Tape) Route(logits *Var, s RouterSpec) *Routing {
	tokens, experts := logits.Rows, logits.Cols
	r, o := newOp[Routing](t), newOp[routeOp](t)
	weights := t.newVar(tokens, s.Used, logits.needs) // [tokens, used]
	*r = Routing{Weights: weights, Expert: t.ints.take(tokens * s.Used)}
	*o = routeOp{t: t, logits: logits, r: r, RouterSpec: s, p: t.floats.take(tokens * experts)}
	if o.Scale == 0 {
		o.Scale = 1
	}
	t.Pool.Do(rowParts(tokens), (*routeForward)(o))
	if t.EvenRouting || t.Pool.Rehearsing() {
		o.spread()
	} else if s.Load != nil && s.Load.Unrecorded != t.recording {
		s.Load.add(r.Expert, tokens, experts)
	}
	r.group(t, experts-s.Identity, s.Used)
	if t.recording && t.RouterLoss != nil && tokens > 0 {
		o.measureLosses(t.RouterLoss)
	}
	t.record(r.Weights, o)
	return r
}

type routeOp struct {
	t      *Tape
	logits *Var
	r      *Routing
	RouterSpec
	p    []float32 // scores [tokens, experts], without bias
	loss routerLossAt
	dl   []float32 // [tokens, experts]
}

// slots is the range of token tok's slots.
func (o *routeOp) slots(tok int) (from, to int) { return tok * o.Used, (tok + 1) * o.Used }

func (o *routeOp) scores(tok int) []float32 {
	return o.p[tok*o.logits.Cols : (tok+1)*o.logits.Cols]
}

type routeForward routeOp

func (f *routeForward) Do(worker, part int) {
	o := (*routeOp)(f)
	from, to := rowsOf(part, o.logits.Rows)
	for tok := from; tok < to; tok++ {
		p, logits := o.scores(tok), o.logits.Row(tok)
		switch o.Gating {
		case GateSoftmax:
			vector.Softmax(p, logits)
		case GateSigmoid:
			for e, l := range logits {
				p[e] = sigmoid(l)
			}
		case GateChosen:
			copy(p, logits)
		}
		o.choose(tok, o.t.workerScratch(worker, len(p)))
		o.weigh(tok)
	}
}

// spread gives the slots the experts in turn: in a rehearsal no logits are known,
// and all experts have the same number of rows.
func (o *routeOp) spread() {
	experts := o.logits.Cols
	if !o.t.EvenRouting {
		experts -= o.Identity
	}
	for slot := range o.r.Expert {
		o.r.Expert[slot] = int32(slot % experts)
	}
}

func sigmoid(x float32) float32 { return float32(1 / (1 + math.Exp(-float64(x)))) }

var minusInfinity = float32(math.Inf(-1))

// choose takes token tok's experts by their scores, of which q gets a copy.
func (o *routeOp) choose(tok int, q []float32) {
	copy(q, o.scores(tok))
	if o.Bias != nil {
		add(q, o.Bias.Data[:len(q)])
	}
	if o.Groups > 1 {
		o.keepBestGroups(q)
	}
	from, to := o.slots(tok)
	chosen := o.r.Expert[from:to]
	for slot := range chosen {
		best := 0
		for e := range q {
			if q[e] > q[best] {
				best = e
			}
		}
		chosen[slot] = int32(best)
		q[best] = minusInfinity
	}
}

// keepBestGroups takes all groups but the best out of the competition.
func (o *routeOp) keepBestGroups(q []float32) {
	size := len(q) / o.Groups
	score := func(g int) (first float32) {
		second := minusInfinity
		first = second
		for _, v := range q[g*size : (g+1)*size] {
			if v > first {
				first, second = v, first
			} else if v > second {
				second = v
			}
		}
		if size == 1 {
			return first
		}
		return first + second
	}
	better := func(a, b int) bool { // whether group a goes before b
		sa, sb := score(a), score(b)
		return sa > sb || sa == sb && a < b
	}
	var out [maxGroups]bool
	for g := range o.Groups {
		before := 0
		for other := range o.Groups {
			if other != g && better(other, g) {
				before++
			}
		}
		out[g] = before >= o.GroupsUsed
	}
	for g := range o.Groups {
		if out[g] {
			fill(q[g*size:(g+1)*size], minusInfinity)
		}
	}
}

// maxGroups is the most groups that experts may be in: llama.cpp takes no more experts.
const maxGroups = 512

// weigh sets the weights of token tok's experts.
func (o *routeOp) weigh(tok int) {
	from, to := o.slots(tok)
	p, w := o.scores(tok), o.r.Weights.Row(tok)
	for slot, e := range o.r.Expert[from:to] {
		w[slot] = p[e]
	}
	switch {
	case o.Gating == GateChosen:
		vector.Softmax(w, w)
	case o.Normalize:
		scale(w, 1/max(sum(w), minWeightSum))
	}
	scale(w, o.Scale)
}

func sum(v []float32) (s float32) {
	for _, x := range v {
		s += x
	}
	return s
}

// group sorts the slots of the first experts by expert, tokens ascending within one.
func (r *Routing) group(t *Tape, experts, used int) {
	r.Groups = t.ints.zeros(experts + 1) // [experts+1]
	for _, e := range r.Expert {
		if int(e) < experts {
			r.Groups[e+1]++
		}
	}
	for e := range experts {
		r.Groups[e+1] += r.Groups[e]
	}
	next := t.ints.take(experts) // [experts]: the row that its next slot takes
	copy(next, r.Groups)
	r.Row, r.Token = t.ints.take(len(r.Expert)), t.ints.take(int(r.Groups[experts]))
	for slot, e := range r.Expert {
		if int(e) >= experts {
			r.Row[slot] = -1
			continue
		}
		r.Row[slot] = next[e]
		r.Token[next[e]] = int32(slot / used)
		next[e]++
	}
}

func (o *routeOp) backward(t *Tape) {
	if o.r.Weights.grad == nil && !o.loss.active() {
		return
	}
	o.dl = t.gradOf(o.logits)
	t.Pool.Do(rowParts(o.logits.Rows), (*routeBackward)(o))
}

type routeBackward routeOp

// Do treats the choice as constant. For weights w = c·p/S of scores p, dp =
// c·(dw - Σ dw·w/c)/S, or c·dw without normalization; the logits get dl =
// p·(dp - Σ p·dp) over all experts of a softmax, or p·(1-p)·dp of sigmoids.
// Weights that are a softmax over the chosen logits give dl = w·(dw - Σ dw·w/c).
func (b *routeBackward) Do(worker, part int) {
	o := (*routeOp)(b)
	n := o.logits.Cols
	from, to := rowsOf(part, o.logits.Rows)
	scratch := o.t.workerScratch(worker, 2*n)
	for tok := from; tok < to; tok++ {
		dl := o.dl[tok*n : (tok+1)*n]
		if o.r.Weights.grad != nil {
			o.backwardWeights(tok, dl, scratch[:n])
		}
		if o.loss.active() {
			o.backwardLosses(tok, dl, scratch)
		}
	}
}

func (o *routeOp) backwardWeights(tok int, dl, dp []float32) {
	from, to := o.slots(tok)
	p, w := o.scores(tok), o.r.Weights.Row(tok)
	dw, chosen := o.r.Weights.grad[from:to], o.r.Expert[from:to]
	divisor, mean := float32(1), float32(0)
	switch {
	case o.Gating == GateChosen:
		mean = vector.Dot(dw, w) / o.Scale
		for slot, e := range chosen {
			dl[e] += w[slot] * (dw[slot] - mean)
		}
		return
	case o.Normalize:
		divisor = 0
		for _, e := range chosen {
			divisor += p[e]
		}
		if divisor > minWeightSum {
			mean = vector.Dot(dw, w) / o.Scale
		} else {
			divisor = minWeightSum
		}
	}
	clear(dp)
	for slot, e := range chosen {
		dp[e] = o.Scale * (dw[slot] - mean) / divisor
	}
	if o.Gating == GateSigmoid {
		for _, e := range chosen {
			dl[e] += dp[e] * p[e] * (1 - p[e])
		}
		return
	}
	softmaxBackward(dl, p, dp)
}

// softmaxBackward adds the gradients of logits whose softmax is p.
func softmaxBackward(dl, p, dp []float32) {
	var dot float32
	for e, d := range dp {
		dot += p[e] * d
	}
	for e := range p {
		dl[e] += p[e] * (dp[e] - dot)
	}
}
