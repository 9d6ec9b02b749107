package adapt

import (
	"math/rand/v2"
	"slices"
	"testing"

	"qtool/fixtures"
	"qtool/internal/kernel/product"
	"qtool/internal/model"
	"qtool/internal/nn"
	"qtool/internal/sharedtest"
)

func logitsWith(t *testing.T, d *model.Decoder, a *Adapter) []float32 {
	t.Helper()
	if err := a.Attach(d); err != nil {
		t.Fatal(err)
	}
	pool := product.NewPool(2)
	defer pool.Close()
	tape := nn.NewTape(pool)
	return d.Logits(tape, d.Hidden(tape, model.NewBatch([]int32{5, 9, 33, 2, 60, 7, 7, 1}, []int{0}), nil, false)).Data
}

func TestPairsOfSomeExpertsAreWrittenAsPairsOfAll(t *testing.T) {
	d := decoder(t, fixtures.Shape{Layers: 2, Experts: 6, Untied: true})
	choice := map[int][]int32{0: {1, 4}, 1: {0, 2, 5}}
	some, err := New(d, Config{Rank: 3, Alpha: 6, Targets: []string{"experts"}, Experts: choice})
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	held := 0
	for _, p := range some.Params() {
		for i := range p.Data {
			p.Data[i] = float32(rng.NormFloat64())
		}
		held += len(p.Data)
	}
	if want := (2 + 3) * 3 * 3 * (32 + 64); held != want {
		t.Errorf("5 experts take %d elements, want %d", held, want)
	}
	all, err := FromModel(some.Model())
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range all.Pairs {
		if p.A.Shape[2] != 6 || p.B.Shape[2] != 6 || p.Experts != nil {
			t.Errorf("%s is written as %v and %v", p.Tensor, p.A.Shape, p.B.Shape)
		}
		for e := range 6 {
			at, ok := slices.BinarySearch(some.Pairs[i].Experts, int32(e))
			if !ok && !(allZero(ofExpert(p.A, e)) && allZero(ofExpert(p.B, e))) {
				t.Errorf("%s: expert %d has no pair and is not zero", p.Tensor, e)
			}
			if ok && !(slices.Equal(ofExpert(p.A, e), ofExpert(some.Pairs[i].A, at)) && slices.Equal(ofExpert(p.B, e), ofExpert(some.Pairs[i].B, at))) {
				t.Errorf("%s: expert %d is not what was trained", p.Tensor, e)
			}
		}
	}
	again, err := FromModelSparse(some.Model())
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range again.Pairs {
		if !slices.Equal(p.Experts, some.Pairs[i].Experts) || !slices.Equal(p.B.Data, some.Pairs[i].B.Data) {
			t.Errorf("%s is read with experts %v", p.Tensor, p.Experts)
		}
	}
	want := logitsWith(t, d, all)
	for name, a := range map[string]*Adapter{"trained": some, "read again": again} {
		if e := sharedtest.NMSE(logitsWith(t, d, a), want); e > 1e-12 {
			t.Errorf("%s: other logits, NMSE %g", name, e)
		}
	}
	if err := again.Attach(decoder(t, fixtures.Shape{Layers: 2, Experts: 7, Untied: true})); err == nil {
		t.Error("pairs of 6 experts fit a base with 7")
	}
}

func TestExpertsAreChosenByNumberAndByUse(t *testing.T) {
	d := decoder(t, fixtures.Shape{Layers: 2, Experts: 4})
	chosen := map[int][]int64{0: {3, 9, 9, 1}, 1: {0, 0, 0, 5}}
	for s, want := range map[string]map[int][]int32{
		"all":      nil,
		"3,1, 1":   {0: {1, 3}, 1: {1, 3}},
		"top:1":    {0: {1}, 1: {3}},
		"top:3":    {0: {0, 1, 2}, 1: {0, 1, 3}},
		"top:4":    {0: {0, 1, 2, 3}, 1: {0, 1, 2, 3}},
		"top:5":    {},
		"0,4":      {},
		"top:0":    {},
		"top:-1":   {},
		"":         {},
		"1,,2":     {},
		"70000":    {},
		"everyone": {},
	} {
		e, err := ParseExperts(s)
		var got map[int][]int32
		if err == nil {
			got, err = e.ByLayer(d, chosen)
		}
		if refused := want != nil && len(want) == 0; refused != (err != nil) {
			t.Errorf("%q: %v", s, err)
			continue
		}
		for l, experts := range want {
			if !slices.Equal(got[l], experts) {
				t.Errorf("%q chooses %v in layer %d, want %v", s, got[l], l, experts)
			}
		}
	}
}
