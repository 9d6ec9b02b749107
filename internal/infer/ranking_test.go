package infer

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestARankingIsASortedList(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	var r ranking
	for n := 1; n < 200; n++ {
		logits := make([]float32, n)
		var sorted []candidate
		for i := range logits {
			logits[i] = float32(rng.IntN(1 + n/2)) // many are equal
			sorted = append(sorted, candidate{int32(i), logits[i]})
		}
		slices.SortFunc(sorted, func(a, b candidate) int {
			return cmp.Or(cmp.Compare(b.logit, a.logit), cmp.Compare(a.id, b.id))
		})
		r.set(logits)
		r.at(rng.IntN(n)) // the rest must come out right as well
		for i := range sorted {
			if r.at(i) != sorted[i] {
				t.Fatalf("of %d tokens, number %d is %v, want %v", n, i, r.at(i), sorted[i])
			}
		}
	}
}

func TestOnlyTheTopOfAVocabularyIsRanked(t *testing.T) {
	logits := make([]float32, 100000)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range logits {
		logits[i] = float32(rng.NormFloat64())
	}
	for i := range 50 {
		logits[i*37] = 20 // what a model that knows what to say gives
	}
	for _, c := range []struct {
		sampling Sampling
		most     int
	}{
		{Sampling{Temperature: 1, TopK: 40}, 40},
		{Sampling{Temperature: 1, TopP: 0.95}, 50},
		{Sampling{Temperature: 1, MinP: 0.05}, 51},
		{Sampling{Temperature: 1}, 51},
	} {
		s := newSampler(c.sampling)
		for range 20 {
			s.next(logits, nil)
			if ranked := len(logits) - s.ranking.heap; ranked > c.most {
				t.Errorf("%+v ranked %d tokens", c.sampling, ranked)
			}
		}
	}
}

func BenchmarkSample(b *testing.B) {
	logits := make([]float32, 128256)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range logits {
		logits[i] = float32(3 * rng.NormFloat64())
	}
	s := newSampler(Sampling{Temperature: 0.8, TopK: 40, TopP: 0.95, MinP: 0.05})
	for b.Loop() {
		s.next(logits, nil)
	}
}
