package dataset

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func exampleOf(tokens []int32) Example { return Example{IDs: append(slices.Clone(tokens), 1)} }

func TestDuplicatesAreFoundAndDifferentOnesAreNot(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var examples []Example
	exact, near := 0, 0
	for range 300 {
		tokens := make([]int32, 100)
		for i := range tokens {
			tokens[i] = rng.Int32N(5000)
		}
		examples = append(examples, exampleOf(tokens))
		again := slices.Clone(tokens)
		examples = append(examples, exampleOf(again))
		exact++
		again[50]++ // four runs of 97 differ: a share of 93/101
		examples = append(examples, exampleOf(again))
		near++
		third := slices.Clone(tokens)
		for i := 40; i < 60; i++ {
			third[i] = rng.Int32N(5000) // 23 of 97 differ: 74/120
		}
		examples = append(examples, exampleOf(third))
	}
	d := FindDuplicates(examples)
	if d.Exact != exact || d.Near > near || d.Near < near*96/100 {
		t.Errorf("%d exact and %d near ones, want %d and about %d", d.Exact, d.Near, exact, near)
	}
	if len(d.First) != firstDuplicates || d.First[0] != (Duplicate{1, 0, true}) {
		t.Errorf("first: %+v", d.First)
	}
	for _, one := range d.First {
		a, b := runsOf(examples[one.Index].Tokens()), runsOf(examples[one.Of].Tokens())
		if one.Of >= one.Index || share(a, b) < nearShare {
			t.Errorf("%+v is none: %g", one, share(a, b))
		}
	}
}

func TestShortExamplesAreDuplicatesOnlyIfTheyAreEqual(t *testing.T) {
	d := FindDuplicates([]Example{exampleOf([]int32{1, 2}), exampleOf([]int32{1, 3}), exampleOf([]int32{1, 2}), exampleOf([]int32{})})
	if d.Exact != 1 || d.Near != 0 {
		t.Errorf("%+v", d)
	}
}

// Records that all share a long text would be compared with each other.
func TestDuplicatesOfOneTemplateCostLittle(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	prompt := make([]int32, 400)
	for i := range prompt {
		prompt[i] = rng.Int32N(1000)
	}
	var examples []Example
	for range 4000 {
		tokens := slices.Clone(prompt)
		for range 10 {
			tokens = append(tokens, rng.Int32N(1000))
		}
		examples = append(examples, exampleOf(tokens))
	}
	if d := FindDuplicates(examples); d.Near < 3990 {
		t.Errorf("%d of %d", d.Near, len(examples))
	}
}
