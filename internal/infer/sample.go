package infer

import (
	"fmt"
	"math"
	"math/rand/v2"
)

// Sampling says how the next token is chosen from logits. The steps and their order are those
// of llama.cpp's sampler chain with its default samplers: the repeat penalty, top-k, top-p,
// min-p, temperature, a draw. Filters see the probabilities at temperature 1 of what is left.
// The zero value takes the most likely token.
type Sampling struct {
	Temperature float64 // 0 takes the most likely token, the lowest id among equals
	TopK        int     // keep the k most likely; 0 keeps all
	TopP        float64 // keep the fewest most likely that have this much probability, at least one; 1 keeps all
	MinP        float64 // keep those with this share of the largest probability; 0 keeps all
	// RepeatPenalty divides positive logits of the last RepeatLast tokens, those of the prompt
	// among them, and multiplies others; 0 or 1 changes nothing.
	RepeatPenalty float64
	RepeatLast    int // 0 is none, a negative number all
	Seed          uint64
}

// DefaultRepeatLast is the RepeatLast of llama.cpp's tools.
const DefaultRepeatLast = 64

// Check reports values that make no sense.
func (s Sampling) Check() error {
	for _, v := range []struct {
		name     string
		value    float64
		max      float64
		expected string
	}{
		{"temperature", s.Temperature, math.MaxFloat64, "0 or more"},
		{"top-k", float64(s.TopK), math.MaxFloat64, "0 or more"},
		{"top-p", s.TopP, 1, "0 to 1"},
		{"min-p", s.MinP, 1, "0 to 1"},
		{"repeat-penalty", s.RepeatPenalty, math.MaxFloat64, "0 or more"},
	} {
		if !(v.value >= 0 && v.value <= v.max) {
			return fmt.Errorf("%s %g: expected %s", v.name, v.value, v.expected)
		}
	}
	return nil
}

// sampler draws tokens.
type sampler struct {
	Sampling
	rng     *rand.Rand
	ranking ranking
}

func newSampler(s Sampling) *sampler {
	return &sampler{Sampling: s, rng: rand.New(rand.NewPCG(s.Seed, 0))}
}

// next chooses a token; recent are the tokens so far. logits are changed.
func (s *sampler) next(logits []float32, recent []int32) int32 {
	s.penalize(logits, s.window(recent))
	if s.Temperature == 0 {
		return greedy(logits)
	}
	s.ranking.set(logits)
	return s.draw(s.kept())
}

// window is the end of recent that the penalty is about.
func (s *sampler) window(recent []int32) []int32 {
	if s.RepeatLast < 0 {
		return recent
	}
	return recent[max(0, len(recent)-s.RepeatLast):]
}

// penalize makes each token of recent less likely, once however often it occurs.
func (s *sampler) penalize(logits []float32, recent []int32) {
	if s.RepeatPenalty == 0 || s.RepeatPenalty == 1 {
		return
	}
	penalty := float32(s.RepeatPenalty)
	seen := make(map[int32]bool, len(recent))
	for _, id := range recent {
		known := seen[id]
		seen[id] = true
		switch {
		case known:
		case logits[id] > 0:
			logits[id] /= penalty
		default:
			logits[id] *= penalty
		}
	}
}

func greedy(logits []float32) int32 {
	best := 0
	for id, l := range logits {
		if l > logits[best] {
			best = id
		}
	}
	return int32(best)
}

// kept is how many of the most likely tokens the filters leave.
func (s *sampler) kept() int {
	r := &s.ranking
	n := len(r.tokens)
	if s.TopK > 0 {
		n = min(n, s.TopK)
	}
	if s.TopP < 1 {
		left := s.TopP * r.sum(n, 1)
		for i := range n {
			if left -= r.weight(i, 1); left <= 0 {
				n = i + 1
				break
			}
		}
	}
	if s.MinP > 0 {
		floor := float64(r.at(0).logit) + math.Log(s.MinP)
		for i := 1; i < n; i++ {
			if float64(r.at(i).logit) < floor {
				n = i
			}
		}
	}
	return n
}

// draw chooses among the n most likely tokens.
func (s *sampler) draw(n int) int32 {
	r := &s.ranking
	left := s.rng.Float64() * r.sum(n, s.Temperature)
	for i := range n {
		if left -= r.weight(i, s.Temperature); left < 0 {
			return r.at(i).id
		}
	}
	return r.at(n - 1).id // rounding
}
