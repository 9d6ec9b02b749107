package infer

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// Sampling says how the next token is chosen from logits. The zero value takes
// the most likely one.
type Sampling struct {
	Temperature float64 // 0 takes the most likely token, the lowest id among equals
	TopK        int     // keep the k most likely; 0 keeps all
	TopP        float64 // keep the fewest that have this much probability; 0 or 1 keeps all
	MinP        float64 // keep those with this share of the largest probability; 0 keeps all
	// RepeatPenalty divides positive logits of the last RepeatWindow tokens, and
	// multiplies negative ones; 0 or 1 changes nothing.
	RepeatPenalty float64
	Seed          uint64
}

// RepeatWindow is the number of tokens that Sampling.RepeatPenalty looks back.
const RepeatWindow = 64

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

// sampler draws tokens. Filters come in llama.cpp's order: repetition, top-k,
// top-p, min-p, temperature.
type sampler struct {
	Sampling
	rng        *rand.Rand
	candidates []candidate
}

type candidate struct {
	id          int32
	logit       float32
	probability float64
}

func newSampler(s Sampling) *sampler {
	return &sampler{Sampling: s, rng: rand.New(rand.NewPCG(s.Seed, 0))}
}

// next chooses a token; recent are the tokens so far. logits are changed.
func (s *sampler) next(logits []float32, recent []int32) int32 {
	s.penalize(logits, recent[max(0, len(recent)-RepeatWindow):])
	if s.Temperature == 0 {
		return greedy(logits)
	}
	s.candidates = s.candidates[:0]
	for id, l := range logits {
		s.candidates = append(s.candidates, candidate{id: int32(id), logit: l})
	}
	slices.SortFunc(s.candidates, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(b.logit, a.logit), cmp.Compare(a.id, b.id))
	})
	kept := s.candidates
	if s.TopK > 0 {
		kept = kept[:min(s.TopK, len(kept))]
	}
	kept = keepProbable(kept, s.TopP, s.MinP)
	return s.draw(kept)
}

// penalize makes each token of recent less likely, once however often it occurs.
func (s *sampler) penalize(logits []float32, recent []int32) {
	if s.RepeatPenalty == 0 || s.RepeatPenalty == 1 {
		return
	}
	penalty := float32(s.RepeatPenalty)
	for i, id := range recent {
		switch {
		case slices.Contains(recent[:i], id):
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

// keepProbable cuts the tail of candidates sorted by falling logit.
func keepProbable(c []candidate, topP, minP float64) []candidate {
	if topP > 0 && topP < 1 {
		total := softmax(c, 1)
		sum := 0.0
		for i := range c {
			if sum += c[i].probability / total; sum >= topP {
				c = c[:i+1]
				break
			}
		}
	}
	if minP > 0 {
		floor := float64(c[0].logit) + math.Log(minP)
		for len(c) > 1 && float64(c[len(c)-1].logit) < floor {
			c = c[:len(c)-1]
		}
	}
	return c
}

// softmax sets probabilities that are not yet divided by their sum, which it returns.
func softmax(c []candidate, temperature float64) (sum float64) {
	for i := range c {
		c[i].probability = math.Exp((float64(c[i].logit) - float64(c[0].logit)) / temperature)
		sum += c[i].probability
	}
	return sum
}

func (s *sampler) draw(c []candidate) int32 {
	left := s.rng.Float64() * softmax(c, s.Temperature)
	for _, x := range c {
		if left -= x.probability; left < 0 {
			return x.id
		}
	}
	return c[len(c)-1].id // rounding
}
