package infer

import "math"

// ranking orders tokens by falling logit, equal ones by rising id, as far as
// anyone asks: of a large vocabulary that is mostly the beginning.
type ranking struct {
	// tokens begin with a heap of those not ranked yet; the ranked ones follow,
	// the most likely last.
	tokens []candidate
	heap   int
}

type candidate struct {
	id    int32
	logit float32
}

// before reports whether c comes before d.
func (c candidate) before(d candidate) bool {
	return c.logit > d.logit || c.logit == d.logit && c.id < d.id
}

// set begins with the logits of all tokens.
func (r *ranking) set(logits []float32) {
	r.tokens = r.tokens[:0]
	for id, l := range logits {
		r.tokens = append(r.tokens, candidate{int32(id), l})
	}
	r.heap = len(logits)
	for i := r.heap/2 - 1; i >= 0; i-- {
		r.sink(i)
	}
}

// sink moves token i down to its place in the heap.
func (r *ranking) sink(i int) {
	h := r.tokens[:r.heap]
	for {
		first := i
		for child := 2*i + 1; child <= min(2*i+2, len(h)-1); child++ {
			if h[child].before(h[first]) {
				first = child
			}
		}
		if first == i {
			return
		}
		h[i], h[first] = h[first], h[i]
		i = first
	}
}

// at is the token of rank i, from 0.
func (r *ranking) at(i int) candidate {
	for len(r.tokens)-r.heap <= i {
		r.heap--
		r.tokens[0], r.tokens[r.heap] = r.tokens[r.heap], r.tokens[0]
		r.sink(0)
	}
	return r.tokens[len(r.tokens)-1-i]
}

// weight is the probability of the token of rank i at a temperature, relative to
// that of the most likely one.
func (r *ranking) weight(i int, temperature float64) float64 {
	return math.Exp((float64(r.at(i).logit) - float64(r.at(0).logit)) / temperature)
}

// sum adds up the weights of the n most likely tokens.
func (r *ranking) sum(n int, temperature float64) (sum float64) {
	highest := float64(r.at(0).logit)
	if n < len(r.tokens) {
		r.at(n - 1)
	}
	for _, c := range r.tokens[len(r.tokens)-n:] {
		sum += math.Exp((float64(c.logit) - highest) / temperature)
	}
	return sum
}
