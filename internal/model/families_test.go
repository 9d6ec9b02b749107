package model_test

import (
	"slices"
	"testing"

	"qtool/fixtures"
	"qtool/internal/model"
	"qtool/internal/sharedtest"
)

func TestEveryFixtureIsOfAKnownArchitecture(t *testing.T) {
	var known []string
	for _, a := range model.Architectures() {
		known = append(known, a.Name)
	}
	for _, name := range fixtures.Families() {
		if !slices.Contains(known, name) {
			t.Errorf("%s", name)
		}
	}
}

func TestCachedChunksGiveTheLogitsOfTheWholeInEveryFamily(t *testing.T) {
	ids := []int32{5, 9, 33, 2, 60, 7, 7, 1, 12, 48, 3, 3}
	for _, name := range fixtures.Families() {
		t.Run(name, func(t *testing.T) {
			d, err := model.Load(fixtures.TinyFamily(1, name), model.Options{})
			if err != nil {
				t.Fatal(err)
			}
			want := logits(t, d, ids)
			tape, cache := newTape(t), d.NewCache()
			var got []float32
			for _, chunk := range [][]int32{ids[:7], ids[7:8], ids[8:]} {
				tape.Reset(false)
				got = append(got, d.Logits(tape, d.Hidden(tape, model.NewBatch(chunk, []int{0}), cache, false)).Data...)
			}
			if e := sharedtest.NMSE(got, want); e > 1e-10 {
				t.Errorf("chunks give other logits: NMSE %g", e)
			}
		})
	}
}
