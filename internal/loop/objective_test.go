package loop

import (
	"context"
	"errors"
	"math"
	"path/filepath"
	"testing"

	"qtool/fixtures"
	"qtool/internal/adapt"
	"qtool/internal/dataset"
	"qtool/internal/kernel/product"
	"qtool/internal/kernel/vector"
	"qtool/internal/model"
)

// weigh gives the documents of rows weights of their own.
func weigh(rows []dataset.Row, weight func(doc int) float32) {
	n := 0
	for _, row := range rows {
		for i := range row.Docs {
			row.Docs[i].Scored = []dataset.Span{{From: 0, To: int32(row.Docs[i].Len()), Weight: weight(n)}}
			n++
		}
	}
}

func TestTheLossOfAStepIsTheMeanOverAllItsBatchesByWeight(t *testing.T) {
	c := smallConfig()
	c.Steps = 1
	s, _ := setup(t, 2, c)
	weigh(s.Rows, func(doc int) float32 { return float32(doc%4)/2 + 0.25 })
	weigh(s.HeldOut, func(doc int) float32 { return float32(doc + 1) })
	var got float64
	s.Report = func(e Event) error {
		if e.Type == StepEvent {
			got = e.Loss
		}
		return nil
	}
	r := start(t, s)
	mean := func(rows []dataset.Row) float64 {
		var sum, weights float64
		for _, row := range rows {
			for _, doc := range row.Docs {
				plain := doc
				plain.Scored = nil
				loss, _ := r.learner.loss([]dataset.Row{{Docs: []dataset.Example{plain}}})
				sum += loss * float64(doc.Scored[0].Weight)
				weights += float64(doc.Scored[0].Weight) * float64(doc.Len())
			}
		}
		return sum / weights
	}
	held, err := r.Measure(context.Background(), nil)
	if want := mean(r.HeldOut); err != nil || math.Abs(held-want) > 1e-5 {
		t.Errorf("the loss of an evaluation is %g, want %g: %v", held, want, err)
	}
	want := mean(r.nextRows())
	r.sampler.Restore(dataset.Position{Seed: c.Seed, Rows: len(s.Rows)})
	if err := r.Train(context.Background()); err != nil {
		t.Fatal(err)
	}
	if math.Abs(got-want) > 1e-5 {
		t.Errorf("the loss of a step of two batches is %g, want %g", got, want)
	}
}

func TestOnlyTheProportionOfWeightsMatters(t *testing.T) {
	gradients := func(weight func(doc int) float32) []float32 {
		c := smallConfig()
		c.Steps = 1
		s, _ := setup(t, 2, c)
		weigh(s.Rows, weight)
		r := start(t, s)
		if err := r.Train(context.Background()); err != nil {
			t.Fatal(err)
		}
		return r.trained.Grad
	}
	a := gradients(func(doc int) float32 { return float32(1 + doc%2) })
	b := gradients(func(doc int) float32 { return 8 * float32(1+doc%2) })
	if !sameBits(a, b) {
		t.Error("weights 8 times as large give other gradients")
	}
	if sameBits(a, gradients(func(int) float32 { return 1 })) {
		t.Error("weights make no difference")
	}
}

func TestGradientsOfTheWholeObjectiveFollowItsLoss(t *testing.T) {
	for _, checkpointing := range []bool{false, true} {
		d, err := model.Load(fixtures.TinyLlama(1, fixtures.Shape{}), model.Options{})
		if err != nil {
			t.Fatal(err)
		}
		a, err := adapt.New(d, adapt.Config{Rank: 2, Alpha: 4, Targets: []string{"attention", "ffn"}})
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Attach(d); err != nil {
			t.Fatal(err)
		}
		for k, p := range a.Params() {
			for i := range p.Data {
				p.Data[i] = 0.1 * float32(math.Sin(float64(7*i+k)))
			}
		}
		pool := product.NewPool(2)
		defer pool.Close()
		weights := newTrained(a.Params(), &Config{})
		l := newLearner(d, a.Params(), pool, &Config{Checkpointing: checkpointing, LabelSmoothing: 0.2, NEFTune: 5, Seed: 3})
		rows := []dataset.Row{{Docs: []dataset.Example{
			dataset.NewExample([]int32{5, 9, 33, 2, 60}, []int32{9, 33, 2, 60, 7}, []float32{1, 1, 2, 0.5, 1}), {IDs: []int32{12, 48, 3, 3, 9}},
		}}}
		l.accumulate(rows, 1)
		norm := weights.gradientNorm(pool)
		along := func(step float64) float64 {
			for _, p := range a.Params() {
				vector.Axpy(p.Data, float32(step/norm), p.Grad)
			}
			sum, _ := l.accumulate(rows, 0)
			return sum
		}
		const h = 5e-3
		slope := (along(h) - along(-2*h)) / (2 * h)
		if math.Abs(slope-norm) > 5e-3*norm {
			t.Errorf("checkpointing %v: the loss changes by %g a step, its gradient is %g", checkpointing, slope, norm)
		}
	}
}

// objectiveConfig has all that changes what a step learns and an evaluation does not have.
func objectiveConfig() Config {
	c := smallConfig()
	c.LabelSmoothing, c.NEFTune = 0.1, 5
	return c
}

func TestNoiseAndSmoothingAreTheSameWithAnyThreadsCheckpointingAndBatch(t *testing.T) {
	run := func(workers, batch int, checkpointing bool) []float32 {
		c := objectiveConfig()
		c.Checkpointing, c.Batch, c.GradAccum, c.Steps = checkpointing, batch, 4/batch, 1
		s, _ := setup(t, workers, c)
		r := start(t, s)
		if err := r.Train(context.Background()); err != nil {
			t.Fatal(err)
		}
		return r.trained.Grad
	}
	want := run(1, 4, false)
	if !sameBits(want, run(3, 4, false)) || !sameBits(want, run(2, 4, true)) {
		t.Error("threads or checkpointing change the result")
	}
	for i, g := range run(2, 1, false) {
		if math.Abs(float64(g-want[i])) > 1e-6 {
			t.Fatalf("gradient %d: %g in one batch, %g accumulated", i, want[i], g)
		}
	}
}

func TestARunWithNoiseGoesOnToTheSameBits(t *testing.T) {
	c := objectiveConfig()
	s, _ := setup(t, 2, c)
	whole := start(t, s)
	if err := whole.Train(context.Background()); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "checkpoint.gguf")
	ctx, cancel := context.WithCancel(context.Background())
	s, _ = setup(t, 2, c)
	s.CheckpointPath = path
	s.Report = func(e Event) error {
		if e.Type == StepEvent && e.Step == 4 {
			cancel()
		}
		return nil
	}
	if err := start(t, s).Train(ctx); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	s, _ = setup(t, 1, c)
	again := start(t, s)
	if _, err := again.Resume(context.Background(), path); err != nil {
		t.Fatal(err)
	}
	if err := again.Train(context.Background()); err != nil {
		t.Fatal(err)
	}
	if !sameBits(values(whole), values(again)) {
		t.Error("the resumed run has another result")
	}
	s, _ = setup(t, 1, smallConfig())
	if _, err := start(t, s).Resume(context.Background(), path); !errors.Is(err, ErrCheckpoint) {
		t.Errorf("a run without noise goes on from it: %v", err)
	}
}

func TestEvaluationsHaveNeitherNoiseNorSmoothing(t *testing.T) {
	measure := func(c Config) float64 {
		s, _ := setup(t, 2, c)
		r := start(t, s)
		if _, err := r.Probe(context.Background()); err != nil { // a batch with noise comes before
			t.Fatal(err)
		}
		loss, err := r.Measure(context.Background(), nil)
		if err != nil {
			t.Fatal(err)
		}
		return loss
	}
	if plain, got := measure(smallConfig()), measure(objectiveConfig()); plain != got {
		t.Errorf("the held-out loss is %g, without them %g", got, plain)
	}
}

func TestSmoothingKeepsProbabilitiesAwayFromOne(t *testing.T) {
	const smoothing = 0.3
	after := func(smoothing float64) float64 {
		c := smallConfig()
		c.LabelSmoothing, c.Epochs = smoothing, 40
		s, _ := setup(t, 2, c)
		r := start(t, s)
		if err := r.Train(context.Background()); err != nil {
			t.Fatal(err)
		}
		sum, weight := r.learner.loss(r.Rows)
		return sum / weight
	}
	// Where every target is certain, the best probability of it is 1-smoothing and a little.
	least := -math.Log(1 - smoothing + smoothing/64)
	if sharp, smooth := after(0), after(smoothing); sharp > 0.8*least || smooth < 0.9*least || smooth > 1.5*least {
		t.Errorf("the loss of what was learned is %.3f without and %.3f with smoothing, whose best is %.3f", sharp, smooth, least)
	}
}

func TestNoiseIsBoundedByTheLengthOfItsDocument(t *testing.T) {
	rows := []dataset.Row{
		{Docs: []dataset.Example{{IDs: make([]int32, 5)}, {IDs: make([]int32, 17)}}},
		{Docs: []dataset.Example{{IDs: make([]int32, 5)}}},
	}
	n := noise{alpha: 8, seed: 1}
	got := *n.of(rows, 64)
	for r, want := range map[int]float64{0: 8 / math.Sqrt(4*64), 4: 8 / math.Sqrt(16*64), 20: 8 / math.Sqrt(4*64)} {
		if math.Abs(float64(got.Magnitudes[r])-want) > 1e-6 {
			t.Errorf("the noise of token %d is up to %g, want %g", r, got.Magnitudes[r], want)
		}
	}
	keys := map[uint64]bool{}
	for step := range 3 {
		n.step = step
		for _, key := range n.of(rows, 64).Keys {
			keys[key] = true
		}
	}
	if len(keys) != 3*24 {
		t.Errorf("%d different keys for 24 tokens in 3 steps", len(keys))
	}
	n.step, n.row = 0, 1
	if alone := n.of(rows[1:], 64).Keys; alone[0] != (&noise{alpha: 8, seed: 1}).of(rows, 64).Keys[20] {
		t.Error("a row has other noise where batches are smaller")
	}
}
