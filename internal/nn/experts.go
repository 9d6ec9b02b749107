package nn

import (
	"qtool/internal/kernel"
)

// RouterSpec says how logits choose and weigh experts.
type RouterSpec struct {
	Used      int  // experts per token
	Normalize bool // divide the chosen weights by their sum
	// Scale multiplies the weights; 0 means 1.
	Scale float32
}

// minWeightSum bounds the divisor of normalization from below, as llama.cpp does.
const minWeightSum = 6.103515625e-5

// Routing is the experts' choice for every token. A slot is one of a token's
// Used experts; the grouped rows list all slots again, sorted by expert.
type Routing struct {
	Weights *Var    // [tokens, used]
	Expert  []int32 // of each slot, [tokens·used]
	Row     []int32 // the grouped row of each slot
	Token   []int32 // the token of each grouped row
	Groups  []int32 // expert e owns grouped rows Groups[e] to Groups[e+1]-1
}

// Route takes router logits [tokens, experts]: softmax over all experts, then
// the largest ones, weighed by their probabilities. Of equal ones the lower
// number wins.
func (t *Tape) Route(logits *Var, s RouterSpec) *Routing {
	tokens, experts := logits.Rows, logits.Cols
	r, o := t.steps.routing.take(), t.steps.route.take()
	*r = Routing{Weights: t.newVar(tokens, s.Used, logits.needs), Expert: t.ints.take(tokens * s.Used)}
	*o = routeOp{logits: logits, r: r, RouterSpec: s, p: t.floats.take(tokens * experts)}
	if o.Scale == 0 {
		o.Scale = 1
	}
	for tok := range tokens {
		if t.Pool.Rehearsing() {
			o.spread(tok)
			continue
		}
		o.choose(tok)
	}
	r.group(t, tokens, experts, s.Used)
	t.record(r.Weights, o)
	return r
}

type routeOp struct {
	logits *Var
	r      *Routing
	RouterSpec
	p []float32 // probabilities [tokens, experts]
}

func (o *routeOp) choose(tok int) {
	experts := o.logits.Cols
	p := o.p[tok*experts : (tok+1)*experts]
	kernel.Softmax(p, o.logits.Row(tok))
	chosen, w := o.r.Expert[tok*o.Used:(tok+1)*o.Used], o.r.Weights.Row(tok)
	for slot := range chosen {
		best := -1
		for e := range p {
			if (best < 0 || p[e] > p[best]) && !contains(chosen[:slot], int32(e)) {
				best = e
			}
		}
		chosen[slot], w[slot] = int32(best), p[best]
	}
	if o.Normalize {
		scale(w, 1/max(sum(w), minWeightSum))
	}
	scale(w, o.Scale)
}

// spread gives a token the experts that follow those of the token before: in a
// rehearsal no logits are known, and all experts have the same number of rows.
func (o *routeOp) spread(tok int) {
	for slot := range o.Used {
		o.r.Expert[tok*o.Used+slot] = int32((tok*o.Used + slot) % o.logits.Cols)
	}
}

func contains(list []int32, e int32) bool {
	for _, x := range list {
		if x == e {
			return true
		}
	}
	return false
}

func sum(v []float32) (s float32) {
	for _, x := range v {
		s += x
	}
	return s
}

// group sorts the slots by expert, tokens ascending within one.
func (r *Routing) group(t *Tape, tokens, experts, used int) {
	r.Groups = t.ints.zeros(experts + 1)
	for _, e := range r.Expert {
		r.Groups[e+1]++
	}
	for e := range experts {
		r.Groups[e+1] += r.Groups[e]
	}
	next := t.ints.take(experts)
	copy(next, r.Groups)
	r.Row, r.Token = t.ints.take(tokens*used), t.ints.take(tokens*used)
	for slot, e := range r.Expert {
		r.Row[slot] = next[e]
		r.Token[next[e]] = int32(slot / used)
		next[e]++
	}
}

// backward treats the choice as constant. With weights w = c·p/S the chosen
// probabilities get dp = c·(dw - Σ dw·w/c)/S, or c·dw without normalization,
// and the logits dl = p·(dp - Σ p·dp) over all experts.
func (o *routeOp) backward(t *Tape) {
	if o.r.Weights.grad == nil {
		return
	}
	dl := t.gradOf(o.logits)
	experts := o.logits.Cols
	dp := t.floats.take(experts)
	for tok := range o.logits.Rows {
		p, w := o.p[tok*experts:(tok+1)*experts], o.r.Weights.Row(tok)
		dw := o.r.Weights.grad[tok*o.Used : (tok+1)*o.Used]
		chosen := o.r.Expert[tok*o.Used : (tok+1)*o.Used]
		divisor, mean := float32(1), float32(0)
		if o.Normalize {
			divisor = 0
			for _, e := range chosen {
				divisor += p[e]
			}
			if divisor > minWeightSum {
				mean = kernel.Dot(dw, w) / o.Scale
			} else {
				divisor = minWeightSum
			}
		}
		clear(dp)
		var dot float32
		for slot, e := range chosen {
			dp[e] = o.Scale * (dw[slot] - mean) / divisor
			dot += p[e] * dp[e]
		}
		for e := range p {
			dl[tok*experts+e] += p[e] * (dp[e] - dot)
		}
	}
}

// Gather copies the row of each grouped row's token: [tokens·used, n].
func (t *Tape) Gather(x *Var, r *Routing) *Var {
	y := t.newVar(len(r.Token), x.Cols, x.needs)
	for row, tok := range r.Token {
		copy(y.Row(row), x.Row(int(tok)))
	}
	o := t.steps.gather.take()
	*o = gatherOp{x: x, y: y, r: r}
	t.record(y, o)
	return y
}

type gatherOp struct {
	x, y *Var
	r    *Routing
	dx   []float32
}

func (o *gatherOp) backward(t *Tape) {
	if o.y.grad == nil {
		return
	}
	o.dx = t.gradOf(o.x)
	t.Pool.Do(rowParts(o.x.Rows), (*gatherBackward)(o))
}

type gatherBackward gatherOp

func (o *gatherBackward) Do(_, part int) {
	from, to := rowsOf(part, o.x.Rows)
	n, used := o.x.Cols, o.r.Weights.Cols
	for tok := from; tok < to; tok++ {
		for _, row := range o.r.Row[tok*used : (tok+1)*used] {
			add(o.dx[tok*n:(tok+1)*n], o.y.grad[int(row)*n:(int(row)+1)*n])
		}
	}
}

// Combine sums each token's expert outputs y [tokens·used, n], in slot order,
// weighed by the routing: [tokens, n].
func (t *Tape) Combine(y *Var, r *Routing) *Var {
	out := t.zeroVar(r.Weights.Rows, y.Cols, y.needs || r.Weights.needs)
	o := t.steps.combine.take()
	*o = combineOp{y: y, out: out, r: r}
	t.Pool.Do(rowParts(out.Rows), (*combineForward)(o))
	t.record(out, o)
	return out
}

type combineOp struct {
	y, out *Var
	r      *Routing
	dy, dw []float32 // each may be nil
}

type combineForward combineOp

func (o *combineForward) Do(_, part int) {
	from, to := rowsOf(part, o.out.Rows)
	for tok := from; tok < to; tok++ {
		for slot, w := range o.r.Weights.Row(tok) {
			kernel.Axpy(o.out.Row(tok), w, o.y.Row(int(o.r.Row[tok*o.r.Weights.Cols+slot])))
		}
	}
}

func (o *combineOp) backward(t *Tape) {
	if o.out.grad == nil {
		return
	}
	o.dy, o.dw = t.gradOf(o.y), t.gradOf(o.r.Weights)
	t.Pool.Do(rowParts(o.out.Rows), (*combineBackward)(o))
}

type combineBackward combineOp

func (o *combineBackward) Do(_, part int) {
	from, to := rowsOf(part, o.out.Rows)
	n, used := o.y.Cols, o.r.Weights.Cols
	for tok := from; tok < to; tok++ {
		g := o.out.grad[tok*n : (tok+1)*n]
		for slot, w := range o.r.Weights.Row(tok) {
			row := int(o.r.Row[tok*used+slot])
			if o.dw != nil {
				o.dw[tok*used+slot] += kernel.Dot(g, o.y.Row(row))
			}
			if o.dy != nil {
				kernel.Axpy(o.dy[row*n:(row+1)*n], w, g)
			}
		}
	}
}
