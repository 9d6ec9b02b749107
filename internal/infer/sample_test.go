package infer

import (
	"math"
	"slices"
	"testing"
)

func TestTemperatureZeroTakesTheLowestOfEqualTokens(t *testing.T) {
	if id := newSampler(Sampling{}).next([]float32{1, 3, 2, 3}, nil); id != 1 {
		t.Errorf("token %d", id)
	}
}

// drawn counts what a sampler draws from the same logits many times.
func drawn(s Sampling, logits []float32, recent ...int32) []int {
	counts := make([]int, len(logits))
	sampler := newSampler(s)
	for range 20000 {
		counts[sampler.next(slices.Clone(logits), recent)]++
	}
	return counts
}

func TestDrawsFollowTheProbabilities(t *testing.T) {
	// Probabilities 0.4, 0.1, 0.3, 0.2.
	logits := []float32{float32(math.Log(4)), 0, float32(math.Log(3)), float32(math.Log(2))}
	for _, c := range []struct {
		name   string
		s      Sampling
		recent []int32
		want   [4]float64
	}{
		{"plain", Sampling{Temperature: 1, TopP: 1}, nil, [4]float64{0.4, 0.1, 0.3, 0.2}},
		{"hotter", Sampling{Temperature: 2, TopP: 1}, nil, [4]float64{2 / 6.146, 1 / 6.146, 1.732 / 6.146, 1.414 / 6.146}},
		{"top-k", Sampling{Temperature: 1, TopP: 1, TopK: 2}, nil, [4]float64{4. / 7, 0, 3. / 7, 0}},
		{"top-p", Sampling{Temperature: 1, TopP: 0.75}, nil, [4]float64{4. / 9, 0, 3. / 9, 2. / 9}},
		{"min-p", Sampling{Temperature: 1, TopP: 1, MinP: 0.6}, nil, [4]float64{4. / 7, 0, 3. / 7, 0}},
		{"min-p keeps the best", Sampling{Temperature: 1, TopP: 1, MinP: 1}, nil, [4]float64{1, 0, 0, 0}},
		{"penalty", Sampling{Temperature: 1, TopP: 1, RepeatPenalty: 2, RepeatLast: 64}, []int32{0, 0, 1}, [4]float64{2. / 8, 1. / 8, 3. / 8, 2. / 8}},
	} {
		for id, n := range drawn(c.s, logits, c.recent...) {
			if got := float64(n) / 20000; math.Abs(got-c.want[id]) > 0.015 {
				t.Errorf("%s: token %d was drawn with frequency %.3f, want %.3f", c.name, id, got, c.want[id])
			}
		}
	}
}

func TestPenaltyMakesUnlikelyTokensLessLikelyAndForgets(t *testing.T) {
	logits := []float32{-1, -2}
	s := newSampler(Sampling{RepeatPenalty: 3, RepeatLast: 5})
	if id := s.next(slices.Clone(logits), []int32{0}); id != 1 {
		t.Errorf("token %d was drawn despite its penalty", id)
	}
	long := append([]int32{0}, slices.Repeat([]int32{1}, 5)...)
	if id := s.next(slices.Clone(logits), long); id != 0 {
		t.Errorf("a token beyond the window was penalized")
	}
}

func TestSamplingRefusesWhatMakesNoSense(t *testing.T) {
	for _, s := range []Sampling{{Temperature: -1}, {Temperature: math.NaN()}, {TopK: -1}, {TopP: 1.1}, {MinP: -0.1}, {RepeatPenalty: -2}} {
		if s.Check() == nil {
			t.Errorf("%+v was accepted", s)
		}
	}
	if err := (Sampling{}).Check(); err != nil {
		t.Error(err)
	}
}

// left is what is left of tokens with the given probabilities after the filters, most likely
// first.
func left(s Sampling, probabilities ...float64) (ids []int32) {
	logits := make([]float32, len(probabilities))
	for i, p := range probabilities {
		logits[i] = float32(math.Log(p))
	}
	sampler := newSampler(s)
	sampler.ranking.set(logits)
	for i := range sampler.kept() {
		ids = append(ids, sampler.ranking.at(i).id)
	}
	return ids
}

// Each filter alone and in order, worked out by hand as llama.cpp's chain has them.
func TestFiltersKeepWhatLlamaCppsKeep(t *testing.T) {
	p := []float64{0.1, 0.4, 0.2, 0.3}
	for _, c := range []struct {
		name string
		s    Sampling
		want []int32
	}{
		{"no filter", Sampling{TopP: 1}, []int32{1, 3, 2, 0}},
		{"the three most likely", Sampling{TopP: 1, TopK: 3}, []int32{1, 3, 2}},
		{"more than there are", Sampling{TopP: 1, TopK: 9}, []int32{1, 3, 2, 0}},
		{"0.4 + 0.3 reach 0.65", Sampling{TopP: 0.65}, []int32{1, 3}},
		{"0.4 + 0.3 do not reach 0.75", Sampling{TopP: 0.75}, []int32{1, 3, 2}},
		{"one token is always left", Sampling{TopP: 0}, []int32{1}},
		{"at least half of 0.4", Sampling{TopP: 1, MinP: 0.49}, []int32{1, 3, 2}},
		{"at least 0.6 of 0.4", Sampling{TopP: 1, MinP: 0.6}, []int32{1, 3}},
		// Of the two that top-k leaves, 4/7 and 3/7, the first reaches 0.55: top-p after
		// top-k. Before it, 0.4 would not reach 0.55.
		{"top-k, then top-p", Sampling{TopK: 2, TopP: 0.55}, []int32{1}},
		// min-p looks at the largest that is left, and does not count again.
		{"top-p, then min-p", Sampling{TopP: 0.85, MinP: 0.7}, []int32{1, 3}},
		// Filters see the probabilities before the temperature.
		{"the temperature comes last", Sampling{Temperature: 100, TopP: 0.65}, []int32{1, 3}},
	} {
		if got := left(c.s, p...); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestThePenaltyIsThatOfLlamaCpp(t *testing.T) {
	recent := []int32{0, 1, 1, 2, 0}
	for _, c := range []struct {
		name string
		last int
		want []float32
	}{
		{"all", -1, []float32{1, -4, 0, 3}},
		{"none", 0, []float32{2, -2, 0, 3}},
		{"the last two", 2, []float32{1, -2, 0, 3}},
		{"more than there are", 64, []float32{1, -4, 0, 3}},
	} {
		logits := []float32{2, -2, 0, 3}
		s := newSampler(Sampling{RepeatPenalty: 2, RepeatLast: c.last})
		s.penalize(logits, s.window(recent))
		if !slices.Equal(logits, c.want) {
			t.Errorf("%s: %v, want %v", c.name, logits, c.want)
		}
	}
	// It comes before the choice of the most likely token, and before the filters.
	if id := newSampler(Sampling{RepeatPenalty: 2, RepeatLast: 1}).next([]float32{3, 2}, []int32{0}); id != 1 {
		t.Errorf("token %d", id)
	}
	if got := drawn(Sampling{Temperature: 1, TopP: 1, TopK: 1, RepeatPenalty: 2, RepeatLast: 1}, []float32{3, 2}, 0); got[0] != 0 {
		t.Errorf("drawn %v", got)
	}
}
