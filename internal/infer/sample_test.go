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
		{"plain", Sampling{Temperature: 1}, nil, [4]float64{0.4, 0.1, 0.3, 0.2}},
		{"hotter", Sampling{Temperature: 2}, nil, [4]float64{2 / 6.146, 1 / 6.146, 1.732 / 6.146, 1.414 / 6.146}},
		{"top-k", Sampling{Temperature: 1, TopK: 2}, nil, [4]float64{4. / 7, 0, 3. / 7, 0}},
		{"top-p", Sampling{Temperature: 1, TopP: 0.75}, nil, [4]float64{4. / 9, 0, 3. / 9, 2. / 9}},
		{"min-p", Sampling{Temperature: 1, MinP: 0.6}, nil, [4]float64{4. / 7, 0, 3. / 7, 0}},
		{"min-p keeps the best", Sampling{Temperature: 1, MinP: 1}, nil, [4]float64{1, 0, 0, 0}},
		{"penalty", Sampling{Temperature: 1, RepeatPenalty: 2}, []int32{0, 0, 1}, [4]float64{2. / 8, 1. / 8, 3. / 8, 2. / 8}},
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
	s := newSampler(Sampling{RepeatPenalty: 3})
	if id := s.next(slices.Clone(logits), []int32{0}); id != 1 {
		t.Errorf("token %d was drawn despite its penalty", id)
	}
	long := append([]int32{0}, slices.Repeat([]int32{1}, RepeatWindow)...)
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
