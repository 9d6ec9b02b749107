package dataset

import (
	"bytes"
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func tokensOf(examples []Example) (n int) {
	for i := range examples {
		n += examples[i].Len()
	}
	return n
}

func TestASampleIsDrawnBySeedAndInOrder(t *testing.T) {
	examples := examplesOfRandomLength(400, 50)
	got := Sample(examples, 1000, 3)
	if n := tokensOf(got); n < 700 || n > 1300 {
		t.Errorf("%d tokens, want about 1000", n)
	}
	if !slices.IsSortedFunc(got, byFirstToken) {
		t.Error("the sample has another order")
	}
	if !cmp.Equal(got, Sample(examples, 1000, 3)) || cmp.Equal(got, Sample(examples, 1000, 4)) {
		t.Error("the sample must be a function of the seed")
	}
	for _, tokens := range []int{0, tokensOf(examples)} {
		if len(Sample(examples, tokens, 1)) != len(examples) {
			t.Errorf("with %d tokens, something is left out", tokens)
		}
	}
	if got := Sample(examples, 1, 1); len(got) != 1 {
		t.Errorf("a small sample has %d examples, want 1", len(got))
	}
	if Sample(nil, 10, 1) != nil {
		t.Error("a sample of nothing")
	}
}

func TestEveryExampleIsAsLikelyInASampleWhateverItsLength(t *testing.T) {
	const seeds, count = 400, 40
	examples := make([]Example, count)
	for i := range examples {
		examples[i] = example(i, 1+i*i/8) // a few are much longer than most
	}
	drawn := make([]int, count)
	for seed := range uint64(seeds) {
		for _, ex := range Sample(examples, tokensOf(examples)/4, seed) {
			drawn[ex.IDs[0]/1000]++
		}
	}
	for i, n := range drawn {
		if want := seeds / 4.0; math.Abs(float64(n)-want) > 40 { // more than 4 deviations
			t.Errorf("example %d of %d tokens was drawn %d times of %d", i, examples[i].Len(), n, seeds)
		}
	}
}

func TestShortenedTextsScoreEveryTargetOnce(t *testing.T) {
	for _, bos := range []bool{false, true} {
		tok := &words{fake{addBOS: bos}}
		text := randomWords(20000)
		read := func(seq int) *Data {
			d, err := Read(bytes.NewReader(text), "a.txt", tok, Options{Seq: seq})
			if err != nil {
				t.Fatal(err)
			}
			return d
		}
		long := read(500)
		if long.Report.Prose != 1 || long.Report.Windowed != 1 {
			t.Errorf("%d plain texts, %d windowed", long.Report.Prose, long.Report.Windowed)
		}
		for _, seq := range []int{2, 3, 64, 499, 500, 501} {
			short := &Data{Examples: Shorten(long.Examples, seq, tok.BOS())}
			if !slices.Equal(ids(short), ids(long)) {
				t.Errorf("windows of %d have other targets", seq)
			}
			for _, ex := range short.Examples {
				if ex.Len() > seq {
					t.Fatalf("a window of %d tokens, want at most %d", ex.Len(), seq)
				}
				if bos && ex.IDs[0] != fakeBOS {
					t.Fatal("a window does not begin with BOS")
				}
			}
		}
		half := long.Examples[1]
		half.Scored = []Span{{int32(half.Len() - half.CountScored()), int32(half.Len()), 0.5}}
		for _, ex := range Shorten([]Example{half}, 64, tok.BOS()) {
			if len(ex.Scored) != 1 || ex.Scored[0].Weight != 0.5 {
				t.Fatalf("a shortened example lost its weight: %v", ex.Scored)
			}
		}
	}
}
