package loop

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"qtool/fixtures"
	"qtool/internal/adapt"
	"qtool/internal/dataset"
	"qtool/internal/kernel/product"
	"qtool/internal/model"
)

// setup is a small run over random tokens.
func setup(t *testing.T, workers int, c Config) (Setup, *adapt.Adapter) {
	t.Helper()
	d, err := model.Load(fixtures.TinyLlama(1, fixtures.Shape{Experts: 4, ExpertsUsed: 2}), model.Options{})
	if err != nil {
		t.Fatal(err)
	}
	a, err := adapt.New(d, adapt.Config{Rank: 4, Alpha: 8, Seed: c.Seed})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Attach(d); err != nil {
		t.Fatal(err)
	}
	pool := product.NewPool(workers)
	t.Cleanup(pool.Close)
	rng := rand.New(rand.NewPCG(1, 1))
	var rows []dataset.Row
	for range 12 {
		var tokens, targets []int32
		for i := range 11 {
			tokens = append(tokens, int32(rng.IntN(8)))
			targets = append(targets, (tokens[i]+1)%8)
		}
		rows = append(rows, dataset.Row{Docs: []dataset.Example{
			dataset.NewExample(tokens[:5], targets[:5], nil), dataset.NewExample(tokens[5:], targets[5:], nil),
		}})
	}
	return Setup{Config: c, Decoder: d, Params: a.Params(), Rows: rows[:10], HeldOut: rows[10:], Pool: pool, Identity: map[string]string{"base": "tiny", "rows": strings.Repeat("long ", 100) + "one"}}, a
}

func smallConfig() Config {
	c := DefaultConfig()
	c.Rate, c.Batch, c.GradAccum, c.Epochs, c.SaveEvery = 1e-2, 2, 2, 4, 2
	return c
}

func start(t *testing.T, s Setup) *Run {
	t.Helper()
	r, err := New(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func values(r *Run) []float32 {
	var all []float32
	for _, p := range r.Params {
		all = append(all, p.Data...)
	}
	return all
}

func sameBits(a, b []float32) bool {
	for i := range a {
		if math.Float32bits(a[i]) != math.Float32bits(b[i]) {
			return false
		}
	}
	return len(a) == len(b)
}

func TestARunLowersTheLossOfHeldOutRows(t *testing.T) {
	s, _ := setup(t, 2, smallConfig())
	r := start(t, s)
	before, _ := r.Evaluate(context.Background(), nil)
	if err := r.Train(context.Background()); err != nil {
		t.Fatal(err)
	}
	if after, _ := r.Evaluate(context.Background(), nil); !(after < before-0.3) {
		t.Errorf("held-out loss went from %g to %g", before, after)
	}
	if want := 10; r.Step() != want {
		t.Errorf("%d steps, want %d: 40 rows of 4", r.Step(), want)
	}
}

func TestTheResultDoesNotDependOnThreadsOrCheckpointing(t *testing.T) {
	var first []float32
	for _, c := range []struct {
		workers       int
		checkpointing bool
	}{{1, false}, {2, false}, {5, true}} {
		cfg := smallConfig()
		cfg.Checkpointing = c.checkpointing
		s, _ := setup(t, c.workers, cfg)
		r := start(t, s)
		if err := r.Train(context.Background()); err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = values(r)
		} else if !sameBits(first, values(r)) {
			t.Errorf("%+v gives other weights", c)
		}
	}
}

func TestAccumulationEqualsALargerBatch(t *testing.T) {
	step := func(batch, accum int) []float32 {
		c := smallConfig()
		c.Batch, c.GradAccum, c.Steps = batch, accum, 1
		s, _ := setup(t, 2, c)
		r := start(t, s)
		if err := r.Train(context.Background()); err != nil {
			t.Fatal(err)
		}
		var grads []float32
		for _, p := range r.Params {
			grads = append(grads, p.Grad...)
		}
		return grads
	}
	a, b := step(4, 1), step(1, 4)
	for i := range a {
		if math.Abs(float64(a[i]-b[i])) > 1e-6 {
			t.Fatalf("gradient %d: %g in one batch, %g accumulated", i, a[i], b[i])
		}
	}
}

func TestAStoppedRunGoesOnToTheSameBits(t *testing.T) {
	c := smallConfig()
	s, _ := setup(t, 2, c)
	whole := start(t, s)
	if err := whole.Train(context.Background()); err != nil {
		t.Fatal(err)
	}
	for stopAt := 1; stopAt < 10; stopAt += 3 {
		path := filepath.Join(t.TempDir(), "checkpoint.gguf")
		ctx, cancel := context.WithCancel(context.Background())
		s, _ := setup(t, 2, c)
		s.CheckpointPath = path
		s.Report = func(e Event) error {
			if e.Type == StepEvent && e.Step == stopAt {
				cancel()
			}
			return nil
		}
		if err := start(t, s).Train(ctx); !errors.Is(err, context.Canceled) {
			t.Fatalf("the stopped run returned %v", err)
		}
		s, _ = setup(t, 1, c)
		again := start(t, s)
		if _, err := again.Resume(context.Background(), path); err != nil {
			t.Fatal(err)
		}
		if again.Step() != stopAt {
			t.Fatalf("resumed at step %d, want %d", again.Step(), stopAt)
		}
		if err := again.Train(context.Background()); err != nil {
			t.Fatal(err)
		}
		if want, got := whole.ExpertLoads(), again.ExpertLoads(); len(want) == 0 || !cmp.Equal(want, got) {
			t.Errorf("stopped at step %d, experts were used otherwise: %s", stopAt, cmp.Diff(want, got))
		}
		if !sameBits(values(whole), values(again)) {
			t.Errorf("stopped at step %d the result is another", stopAt)
		}
	}
}

func TestACheckpointOfAnotherRunIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "checkpoint.gguf")
	s, _ := setup(t, 1, smallConfig())
	s.CheckpointPath = path
	if err := start(t, s).Train(context.Background()); err != nil {
		t.Fatal(err)
	}
	for says, change := range map[string]func(*Setup){
		"base: tiny there, other here":             func(s *Setup) { s.Identity["base"] = "other" },
		"rows: one there, two here":                func(s *Setup) { s.Identity["rows"] = strings.Repeat("long ", 100) + "two" },
		"seq: nothing there, 8 here":               func(s *Setup) { s.Identity["seq"] = "8" },
		"lr: 0.01 there, 1 here":                   func(s *Setup) { s.Config.Rate = 1 },
		"steps in all: 10 there, 9 here":           func(s *Setup) { s.Rows = s.Rows[:9] },
		"lr_schedule: cosine there, constant here": func(s *Setup) { s.Config.Schedule = "constant" },
	} {
		s, _ := setup(t, 1, smallConfig())
		change(&s)
		_, err := start(t, s).Resume(context.Background(), path)
		if !errors.Is(err, ErrCheckpoint) || !strings.Contains(err.Error(), says) {
			t.Errorf("expected %q: %v", says, err)
		}
		if err != nil && (len(err.Error()) > 300+len(path) || strings.Contains(err.Error(), "beta1")) {
			t.Errorf("tells more than what differs: %v", err)
		}
	}
}

func TestMetricsForgetWhatCameAfterTheCheckpoint(t *testing.T) {
	path := filepath.Join(t.TempDir(), "metrics.jsonl")
	m, err := OpenMetrics(path, 0)
	if err != nil {
		t.Fatal(err)
	}
	for step := range 5 {
		if err := m.Write(Event{Type: StepEvent, Step: step + 1, Loss: 1}); err != nil {
			t.Fatal(err)
		}
	}
	m.log.Write([]byte(`{"type":"step","st`)) // killed in the middle of a line
	m.Close()
	if m, err = OpenMetrics(path, 3); err != nil {
		t.Fatal(err)
	}
	m.Write(Event{Type: StepEvent, Step: 4, Loss: 2})
	m.Close()
	text, _ := os.ReadFile(path)
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	if len(lines) != 4 {
		t.Fatalf("%d lines:\n%s", len(lines), text)
	}
	var last struct {
		Step int
		Loss float64
	}
	if err := json.Unmarshal([]byte(lines[3]), &last); err != nil || last.Step != 4 || last.Loss != 2 {
		t.Errorf("last line %s: %v", lines[3], err)
	}
}

func TestSchedulesClimbThenFallToNothing(t *testing.T) {
	for _, kind := range Schedules {
		c := Config{Rate: 2, Schedule: kind, Warmup: 0.1}
		const steps = 100
		previous := 0.0
		for step := 1; step <= 10; step++ {
			if r := rateAt(&c, step, steps); r <= previous {
				t.Errorf("%s: the warm-up does not climb at step %d", kind, step)
			} else {
				previous = r
			}
		}
		if previous != 2 {
			t.Errorf("%s: the peak is %g", kind, previous)
		}
		for step := 11; step <= steps; step++ {
			r := rateAt(&c, step, steps)
			if r > previous || r < 0 || kind == "constant" && r != 2 {
				t.Errorf("%s: rate %g at step %d after %g", kind, r, step, previous)
			}
			previous = r
		}
		if kind != "constant" && previous > 0.05 {
			t.Errorf("%s ends at %g", kind, previous)
		}
	}
}

func TestFullWeightsTrainToo(t *testing.T) {
	d, err := model.Load(fixtures.TinyLlama(1, fixtures.Shape{}), model.Options{TrainWeights: true})
	if err != nil {
		t.Fatal(err)
	}
	s, _ := setup(t, 2, smallConfig())
	s.Decoder, s.Params = d, d.Params()
	r := start(t, s)
	before, _ := r.Evaluate(context.Background(), nil)
	if err := r.Train(context.Background()); err != nil {
		t.Fatal(err)
	}
	after, _ := r.Evaluate(context.Background(), nil)
	if !(after < before-0.3) {
		t.Errorf("held-out loss went from %g to %g", before, after)
	}
	reloaded, err := model.Load(d.Snapshot(), model.Options{})
	if err != nil {
		t.Fatal(err)
	}
	again := start(t, Setup{Config: s.Config, Decoder: reloaded, Rows: s.Rows, HeldOut: s.HeldOut, Pool: s.Pool})
	if loss, _ := again.Evaluate(context.Background(), nil); loss != after {
		t.Errorf("the snapshot's loss is %g, the run's was %g", loss, after)
	}
}
