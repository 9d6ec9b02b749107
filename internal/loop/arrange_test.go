package loop

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"qtool/fixtures"
	"qtool/internal/dataset"
	"qtool/train/run"
)

// records are examples of some lengths that differ in their tokens.
func records(lengths ...int) *dataset.Data {
	d := &dataset.Data{}
	for i, n := range lengths {
		ids := make([]int32, n+1)
		for k := range ids {
			ids[k] = int32(1000*i + k)
		}
		d.Examples = append(d.Examples, dataset.Example{IDs: ids})
	}
	d.Report.Records = len(lengths)
	return d
}

// text is a plain text of n tokens in windows of seq.
func text(n, seq int) *dataset.Data {
	var lengths []int
	for ; n > 0; n -= seq {
		lengths = append(lengths, min(n, seq))
	}
	d := records(lengths...)
	d.Report.Records, d.Report.Prose = 1, 1
	return d
}

func TestSmallDataGetEnoughSteps(t *testing.T) {
	free := Arrangement{Seq: 2048, Shorter: true, BOS: -1, Batch: 1, Accum: 1, Seed: 1}
	with := func(change func(*Arrangement)) Arrangement {
		a := free
		change(&a)
		return a
	}
	type result struct {
		Seq, Rows, Epochs, Steps int
		Packed                   bool
	}
	for _, c := range []struct {
		name string
		a    Arrangement
		data *dataset.Data
		want result
	}{
		{"large data: full rows", free, records(slices.Repeat([]int{1000}, 400)...), result{2016, 200, 3, 600, true}},
		{"20 short records", free, records(slices.Repeat([]int{40}, 20)...), result{64, 20, 5, 100, false}},
		{"50 short records", free, records(slices.Repeat([]int{40}, 50)...), result{64, 50, 3, 150, false}},
		{"160 short records", free, records(slices.Repeat([]int{40}, 160)...), result{128, 54, 3, 162, true}},
		{"20 long records", free, records(slices.Repeat([]int{1500}, 20)...), result{1504, 20, 5, 100, false}},
		{"3 records", free, records(40, 30, 20), result{64, 3, 10, 30, false}},
		{"one record", free, records(3), result{32, 1, 10, 10, false}},
		{"a text of 20000 tokens", free, text(20000, 2048), result{512, 40, 3, 120, false}},
		{"a text of 1500 tokens", free, text(1500, 2048), result{128, 12, 9, 108, false}},
		{"a text of 4 tokens", free, text(4, 2048), result{32, 1, 10, 10, false}},
		{"larger steps", with(func(a *Arrangement) { a.Batch, a.Accum = 2, 2 }), records(slices.Repeat([]int{40}, 50)...), result{64, 50, 8, 100, false}},
		{"a batch of more than all", with(func(a *Arrangement) { a.Batch = 64 }), records(40, 40, 40), result{128, 1, 10, 10, true}},
		{"epochs are given", with(func(a *Arrangement) { a.Epochs = 1 }), records(slices.Repeat([]int{40}, 160)...), result{64, 160, 1, 160, false}},
		{"steps are given", with(func(a *Arrangement) { a.Steps = 7 }), records(slices.Repeat([]int{40}, 20)...), result{800, 1, 3, 7, true}},
		{"rows are given", with(func(a *Arrangement) { a.Seq, a.Shorter = 512, false }), records(slices.Repeat([]int{40}, 160)...), result{512, 160, 3, 480, false}},
		{"packing is given", with(func(a *Arrangement) { a.Packing = run.PackingOn }), records(slices.Repeat([]int{20}, 60)...), result{32, 60, 3, 180, false}},
		{"packing and rows are given", with(func(a *Arrangement) { a.Packing, a.Seq, a.Shorter = run.PackingOn, 512, false }), records(slices.Repeat([]int{40}, 20)...), result{512, 2, 10, 20, true}},
		{"no packing", with(func(a *Arrangement) { a.Packing = run.PackingOff }), records(slices.Repeat([]int{40}, 400)...), result{64, 400, 3, 1200, false}},
		{"all is given", with(func(a *Arrangement) { a.Packing, a.Seq, a.Shorter, a.Epochs = run.PackingOn, 2048, false, 3 }), records(slices.Repeat([]int{40}, 20)...), result{2048, 1, 3, 3, true}},
	} {
		got := c.a.Arrange(c.data, nil)
		if d := cmp.Diff(c.want, result{got.Seq, len(got.Rows), got.Epochs, got.Steps, got.Packed}); d != "" {
			t.Errorf("%s: %s", c.name, d)
		}
		for i := range got.Rows {
			if n := got.Rows[i].Len(); n > got.Seq {
				t.Errorf("%s: a row of %d tokens, more than %d", c.name, n, got.Seq)
			}
		}
	}
}

func TestWhatIsEvaluatedIsTheSameWithAndWithoutPacking(t *testing.T) {
	var lengths []int
	for i := range 300 {
		lengths = append(lengths, 5+i%90)
	}
	documents := func(rows []dataset.Row) (all []int32) {
		for _, r := range rows {
			for _, d := range r.Docs {
				all = append(all, d.IDs[0])
			}
		}
		slices.Sort(all)
		return all
	}
	for _, file := range []bool{false, true} {
		var want []int32
		for _, packing := range []run.Packing{run.PackingOff, run.PackingOn, run.PackingAuto} {
			a := Arrangement{Seq: 512, Packing: packing, BOS: -1, Batch: 1, Accum: 1, EvalSplit: 0.5, EvalTokens: 2000, Seed: 3}
			train, eval := records(lengths...), (*dataset.Data)(nil)
			if file {
				eval = records(lengths...)
			}
			got := a.Arrange(train, eval)
			if n := len(documents(got.HeldOut)); n != got.Evaluated || n >= got.HeldOutExamples || len(documents(got.Withheld)) != got.HeldOutExamples {
				t.Errorf("%d of %d examples are said to be evaluated, %d are", got.Evaluated, got.HeldOutExamples, n)
			}
			if want == nil {
				want = documents(got.HeldOut)
			}
			if d := cmp.Diff(want, documents(got.HeldOut)); d != "" {
				t.Errorf("packing %q: %s", packing, d)
			}
		}
	}
}

func TestTextsCutAnewKeepAllTheirTargets(t *testing.T) {
	whole := text(5000, 2048)
	eval := text(3000, 2048)
	a := Arrangement{Seq: 2048, Shorter: true, BOS: 7, Batch: 1, Accum: 1, Seed: 1}
	got := a.Arrange(whole, eval)
	for what, rows := range map[string][]dataset.Row{"to train on": got.Rows, "held out": got.Withheld} {
		want := map[string]int{"to train on": 5000, "held out": 3000}[what]
		scored, _ := countScored(rows)
		if scored != want {
			t.Errorf("%s: %d targets, want %d", what, scored, want)
		}
	}
	if got.Seq != 128 || got.Steps != 120 {
		t.Errorf("%d steps of windows of %d tokens", got.Steps, got.Seq)
	}
}

func TestBucketsHaveRowsOfSimilarLengthsAndGoOnFromACheckpoint(t *testing.T) {
	c := smallConfig()
	c.Batch, c.GradAccum, c.Epochs = 3, 1, 2
	spread := func(buckets bool) (all int) {
		c.LengthBuckets = buckets
		r := unevenRun(t, fixtures.TinyLlama(1, fixtures.Shape{}), c, false)
		for range len(r.Rows) / c.Batch {
			rows := r.nextRows()
			all += longest(rows) - min(rows[0].Len(), rows[1].Len(), rows[2].Len())
		}
		return all
	}
	if mixed, similar := spread(false), spread(true); similar > mixed/4 {
		t.Errorf("the lengths in the batches of an epoch differ by %d, without buckets by %d", similar, mixed)
	}
	whole := unevenRun(t, fixtures.TinyLlama(1, fixtures.Shape{}), c, false)
	if err := whole.Train(context.Background()); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "checkpoint.gguf")
	stopped := unevenRun(t, fixtures.TinyLlama(1, fixtures.Shape{}), c, false)
	stopped.CheckpointPath = path
	ctx, cancel := context.WithCancel(context.Background())
	stopped.Report = func(e Event) error {
		if e.Type == StepEvent && e.Step == 8 { // in the second epoch
			cancel()
		}
		return nil
	}
	if err := stopped.Train(ctx); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	again := unevenRun(t, fixtures.TinyLlama(1, fixtures.Shape{}), c, false)
	if _, err := again.Resume(context.Background(), path); err != nil {
		t.Fatal(err)
	}
	if err := again.Train(context.Background()); err != nil {
		t.Fatal(err)
	}
	if !sameBits(values(whole), values(again)) {
		t.Error("the resumed run has another result")
	}
}
