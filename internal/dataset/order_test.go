package dataset

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// example makes an example of n positions that no other id gives.
func example(id, n int) Example {
	var ex Example
	for i := range n + 1 {
		ex.IDs = append(ex.IDs, int32(id*1000+i))
	}
	return ex
}

func examplesOfRandomLength(count, longest int) []Example {
	r := rand.New(rand.NewPCG(1, 2))
	out := make([]Example, count)
	for i := range out {
		out[i] = example(i, 1+r.IntN(longest))
	}
	return out
}

// documents takes rows apart again.
func documents(rows []Row) []Example {
	var out []Example
	for _, r := range rows {
		out = append(out, r.Docs...)
	}
	return out
}

func byFirstToken(a, b Example) int { return int(a.IDs[0] - b.IDs[0]) }

func TestPackingKeepsEveryDocumentWholeAndRowsFull(t *testing.T) {
	for _, seq := range []int{50, 63, 64, 65, 127, 128, 500} {
		examples := examplesOfRandomLength(400, 50)
		rows := Pack(examples, seq, 42)
		total := 0
		for _, r := range rows {
			if r.Len() > seq {
				t.Fatalf("seq %d: a row of %d tokens", seq, r.Len())
			}
			total += r.Len()
		}
		got := documents(rows)
		slices.SortFunc(got, byFirstToken)
		if d := cmp.Diff(examples, got); d != "" {
			t.Fatalf("seq %d: %s", seq, d)
		}
		if full := float64(total) / float64(len(rows)*seq); full < 0.95 && seq < 500 {
			t.Errorf("seq %d: rows are only %.0f%% full", seq, 100*full)
		}
	}
}

func TestPackingIsAFunctionOfTheSeed(t *testing.T) {
	examples := examplesOfRandomLength(100, 20)
	if d := cmp.Diff(Pack(examples, 64, 7), Pack(examples, 64, 7)); d != "" {
		t.Error(d)
	}
	if cmp.Equal(Pack(examples, 64, 7), Pack(examples, 64, 8)) {
		t.Error("another seed packs the same rows")
	}
}

func TestAnExampleLongerThanTheRowStandsAlone(t *testing.T) {
	rows := Pack([]Example{example(1, 3), example(2, 9)}, 5, 1)
	if len(rows) != 2 || rows[0].Len() != 9 || rows[1].Len() != 3 {
		t.Error(rows)
	}
	if Pack(nil, 5, 1) != nil {
		t.Error("rows of nothing")
	}
}

func TestRowsWithoutPackingAreTheExamples(t *testing.T) {
	examples := examplesOfRandomLength(5, 9)
	if d := cmp.Diff(examples, documents(Rows(examples))); d != "" {
		t.Error(d)
	}
}

func TestSplitHoldsOutTheFractionAndNothingTwice(t *testing.T) {
	for _, n := range []int{2, 3, 20, 1000} {
		examples := examplesOfRandomLength(n, 5)
		train, eval := Split(examples, 0.05, 42)
		if want := max(1, n/20); len(eval) != want {
			t.Errorf("%d of %d held out; expected %d", len(eval), n, want)
		}
		all := slices.Concat(train, eval)
		slices.SortFunc(all, byFirstToken)
		if d := cmp.Diff(examples, all); d != "" {
			t.Error(d)
		}
		again, _ := Split(examples, 0.05, 42)
		if d := cmp.Diff(train, again); d != "" {
			t.Error(d)
		}
	}
}

func TestSplitKeepsEqualExamplesTogether(t *testing.T) {
	var examples []Example
	for i := range 100 {
		examples = append(examples, example(i%10, 4))
	}
	for seed := range uint64(20) {
		train, eval := Split(examples, 0.3, seed)
		if len(eval) != 30 || len(train) != 70 {
			t.Fatalf("%d train, %d eval", len(train), len(eval))
		}
		for _, e := range eval {
			if slices.ContainsFunc(train, func(x Example) bool { return slices.Equal(x.IDs, e.IDs) }) {
				t.Fatal("an example for evaluation is trained on")
			}
		}
	}
	if _, eval := Split(examples[:1], 0.5, 1); eval != nil {
		t.Error("one example was split")
	}
	if train, eval := Split([]Example{example(1, 2), example(1, 2)}, 0.5, 1); eval != nil || len(train) != 2 {
		t.Error("equal examples were split")
	}
	if train, eval := Split(examples[:10], 1, 1); len(train) != 1 || len(eval) != 9 {
		t.Errorf("nothing to train on: %d, %d", len(train), len(eval))
	}
	if _, eval := Split(examples, 0, 1); eval != nil {
		t.Error("fraction 0 held something out")
	}
}

func TestSplitKeepsTheExamplesOfARecordTogether(t *testing.T) {
	var examples []Example
	for i := range 60 {
		ex := example(i, 4)
		ex.Record = int32(1 + i/3)
		examples = append(examples, ex)
	}
	examples[10].IDs = examples[40].IDs // of the records 4 and 14
	for seed := range uint64(20) {
		train, eval := Split(examples, 0.3, seed)
		side := map[int32]bool{}
		for _, ex := range eval {
			side[ex.Record] = true
		}
		if side[4] != side[14] {
			t.Fatal("equal examples are on both sides")
		}
		for _, ex := range train {
			if side[ex.Record] {
				t.Fatalf("record %d is on both sides", ex.Record)
			}
		}
		if len(eval) < 12 || len(eval) > 18 {
			t.Fatalf("%d are held out", len(eval))
		}
	}
}

func TestBatchesOfABucketSamplerHaveSimilarLengths(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	lengths := make([]int, 1003)
	for i := range lengths {
		lengths[i] = 1 + r.IntN(1000)
	}
	const batch = 8
	spread := func(s *Sampler) (sum int, orders [2][]int) {
		for epoch := range orders {
			for range lengths {
				row, e := s.Next()
				if e != epoch {
					t.Fatalf("epoch %d within epoch %d", e, epoch)
				}
				orders[epoch] = append(orders[epoch], row)
			}
			for rows := range slices.Chunk(orders[epoch], batch) {
				least, most := 1000, 0
				for _, row := range rows {
					least, most = min(least, lengths[row]), max(most, lengths[row])
				}
				sum += most - least
			}
			all := slices.Sorted(slices.Values(orders[epoch]))
			for i, row := range all {
				if i != row {
					t.Fatal("not every row once")
				}
			}
		}
		return sum, orders
	}
	plain, _ := spread(NewSampler(len(lengths), 3))
	bucketed, orders := spread(NewBucketSampler(lengths, batch, 3))
	if bucketed*10 > plain {
		t.Errorf("lengths differ by %d in buckets, by %d without", bucketed, plain)
	}
	if slices.Equal(orders[0], orders[1]) {
		t.Error("two epochs have the same order")
	}
	first := 0
	for i := range 100 {
		if lengths[orders[0][i*batch]] < 500 {
			first++
		}
	}
	if first < 30 || first > 70 {
		t.Errorf("%d of 100 batches are of short rows", first)
	}
	at := NewBucketSampler(lengths, batch, 3)
	for range 1500 {
		at.Next()
	}
	again := NewBucketSampler(lengths, batch, 3)
	if err := again.Restore(at.Position()); err != nil {
		t.Fatal(err)
	}
	if row, _ := again.Next(); row != orders[1][1500-len(lengths)] {
		t.Error("a restored sampler goes on otherwise")
	}
}

func TestEveryEpochVisitsEveryRowOnceInAnOrderOfItsOwn(t *testing.T) {
	s := NewSampler(50, 42)
	var epochs [3][]int
	for range 150 {
		row, epoch := s.Next()
		epochs[epoch] = append(epochs[epoch], row)
	}
	for _, order := range epochs {
		all := slices.Sorted(slices.Values(order))
		for i, row := range all {
			if i != row {
				t.Fatalf("rows visited: %v", all)
			}
		}
	}
	if slices.Equal(epochs[0], epochs[1]) || slices.Equal(epochs[1], epochs[2]) {
		t.Error("two epochs have the same order")
	}
}

func TestASamplerRestoredFromAnyPositionGoesOnAlike(t *testing.T) {
	const rows, steps = 7, 25
	for at := range steps {
		s := NewSampler(rows, 3)
		for range at {
			s.Next()
		}
		saved, err := json.Marshal(s.Position())
		if err != nil {
			t.Fatal(err)
		}
		var p Position
		if err := json.Unmarshal(saved, &p); err != nil {
			t.Fatal(err)
		}
		resumed := NewSampler(rows, 3)
		if err := resumed.Restore(p); err != nil {
			t.Fatal(err)
		}
		for range steps {
			row, epoch := s.Next()
			if r, e := resumed.Next(); r != row || e != epoch {
				t.Fatalf("at %d: row %d of epoch %d; expected %d of %d", at, r, e, row, epoch)
			}
		}
	}
}

func TestRestoringAPositionOfOtherDataIsRefused(t *testing.T) {
	for _, p := range []Position{{Seed: 1, Rows: 8}, {Seed: 2, Rows: 7}, {Seed: 1, Rows: 7, Index: 8}, {Seed: 1, Rows: 7, Epoch: -1}, {Seed: 1, Rows: 7, Index: -1}} {
		if err := NewSampler(7, 1).Restore(p); err == nil {
			t.Errorf("%+v was taken", p)
		}
	}
}

// A checkpoint must resume the same on any platform and version: the order is fixed.
func TestTheShuffleNeverChanges(t *testing.T) {
	got := fmt.Sprint(permutation(10, 42, streamEpoch), permutation(5, 0, 9))
	if want := "[2 9 5 4 3 7 6 0 8 1] [3 4 1 0 2]"; got != want {
		t.Errorf("permutations changed to %s", got)
	}
}

func TestABatchIsTheDocumentsOfItsRowsSideBySide(t *testing.T) {
	a := NewExample([]int32{1, 2, 3, 4}, []int32{Unscored, 3, Unscored, 5}, nil)
	b := NewExample([]int32{6, 7}, []int32{9, 8}, nil)
	c := NewExample([]int32{1}, []int32{2}, nil)
	var batch Batch
	batch.Set(Row{Docs: []Example{c, c, c, c}})
	batch.Set(Row{Docs: []Example{a, b}}, Row{Docs: []Example{c}})
	want := Batch{
		Tokens:  []int32{1, 2, 3, 4, 6, 7, 1},
		Targets: []int32{Unscored, 3, Unscored, 5, 9, 8, 2},
		Docs:    []int{0, 4, 6},
	}
	if d := cmp.Diff(want, batch); d != "" {
		t.Error(d)
	}
	if n := a.CountScored(); n != 2 {
		t.Errorf("%d positions count", n)
	}
	short, ok := a.cut(3)
	if got := short.AppendTargets(nil); !ok || !slices.Equal(got, []int32{Unscored, 3}) {
		t.Errorf("cut to 3: %v", got)
	}
	if _, ok := a.cut(1); ok {
		t.Error("a cut example has nothing scored")
	}
}
