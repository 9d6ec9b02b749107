package loop

import (
	"bytes"
	"context"
	"errors"
	"math"
	"strings"
	"testing"

	"qtool/fixtures"
	"qtool/internal/adapt"
	"qtool/internal/dataset"
	"qtool/internal/model"
)

// eventsOf runs a run and lists what happened, with poison called after each event.
func eventsOf(t *testing.T, s Setup, poison func(r *Run, e Event)) (*Run, string, error) {
	t.Helper()
	var r *Run
	var all []string
	s.Report = func(e Event) error {
		if e.Type == SkipEvent || e.Type == RollbackEvent {
			t.Logf("step %d: %s: %s", e.Step, e.Type, e.Reason)
		}
		all = append(all, string(e.Type))
		if poison != nil {
			poison(r, e)
		}
		return nil
	}
	r = start(t, s)
	err := r.Train(context.Background())
	return r, strings.Join(all, " "), err
}

func TestSpoiltWeightsArePutBackAndTheRateIsLowered(t *testing.T) {
	for name, spoil := range map[string]float32{"NaN": float32(math.NaN()), "huge": 1e8} {
		c := smallConfig()
		c.Steps = 6
		s, _ := setup(t, 1, c)
		var rates []float64
		r, got, err := eventsOf(t, s, func(r *Run, e Event) {
			if e.Type == StepEvent {
				rates = append(rates, e.Rate)
			}
			if e.Type == StepEvent && e.Step == 3 {
				for _, p := range r.Params {
					for i := range p.Data {
						p.Data[i] = spoil
					}
				}
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		if want := "step step step rollback step step"; !strings.HasPrefix(got, want) {
			t.Errorf("%s: events %s, want %s", name, got, want)
		}
		if whole := rateAt(&c, 5, 6); len(rates) > 3 && rates[3] != whole/2 {
			t.Errorf("%s: the rate after the rollback is %g, want half of %g", name, rates[3], whole)
		}
		if r.guard.rollbacks != 1 || r.trained.updates != 2 {
			t.Errorf("%s: %d rollbacks, %d updates", name, r.guard.rollbacks, r.trained.updates)
		}
	}
}

func TestWhatTheLastStepSpoilsIsPutBackBeforeTheRunEnds(t *testing.T) {
	c := smallConfig()
	c.Steps = goodEvery + 2
	s, _ := setup(t, 1, c)
	r, got, err := eventsOf(t, s, func(r *Run, e Event) {
		if e.Type == StepEvent && e.Step == goodEvery+2 {
			r.Params[0].Data[0] = float32(math.Inf(1))
		}
	})
	if err != nil || !strings.Contains(got, "step rollback") {
		t.Errorf("%v after %s", err, got)
	}
	if r.trained.updates != goodEvery {
		t.Errorf("the result has %d updates, the last good state was that of step %d", r.trained.updates, goodEvery)
	}
}

func TestARowThatCannotBeComputedIsSkippedAndNothingIsPutBack(t *testing.T) {
	c := smallConfig()
	c.Batch, c.GradAccum, c.Epochs = 1, 1, 1
	s, _ := setup(t, 1, c)
	base := fixtures.TinyLlama(1, fixtures.Shape{Untied: true})
	const damaged = 9 // a token
	embedding, _ := base.Tensor("token_embd.weight")
	values, err := embedding.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	row := values[damaged*embedding.RowBytes():][:embedding.RowBytes()]
	copy(row, bytes.Repeat([]byte{0xff}, len(row)))
	if s.Decoder, err = model.Load(base, model.Options{}); err != nil {
		t.Fatal(err)
	}
	a, err := adapt.New(s.Decoder, adapt.Config{Rank: 4, Alpha: 8, Seed: 1})
	if err == nil {
		err = a.Attach(s.Decoder)
	}
	if err != nil {
		t.Fatal(err)
	}
	s.Params = a.Params()
	sampler := dataset.NewSampler(len(s.Rows), c.Seed)
	last := 0
	for range s.Rows {
		last, _ = sampler.Next()
	}
	s.Rows[last].Docs[0].IDs[1] = damaged
	r, got, err := eventsOf(t, s, nil)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(got, "skip") != 1 || strings.Contains(got, "rollback") || r.trained.updates != len(s.Rows)-1 {
		t.Errorf("%d updates after %s", r.trained.updates, got)
	}
}

func TestARunThatAlwaysDivergesIsGivenUp(t *testing.T) {
	c := smallConfig()
	c.Rate, c.Schedule, c.Warmup, c.Steps = 1e30, "constant", 0, 200
	s, _ := setup(t, 1, c)
	_, got, err := eventsOf(t, s, nil)
	if !errors.Is(err, ErrDiverged) || strings.Count(got, "rollback") != failureLimit {
		t.Errorf("%v after %s", err, got)
	}
}

func TestARateThatIsTooHighIsLoweredUntilTheRunLearns(t *testing.T) {
	c := smallConfig()
	c.Rate, c.Schedule, c.Steps = 100, "constant", 150
	s, _ := setup(t, 2, c)
	var err error
	if s.Decoder, err = model.Load(fixtures.TinyLlama(1, fixtures.Shape{}), model.Options{TrainWeights: true}); err != nil {
		t.Fatal(err)
	}
	s.Params = s.Decoder.Params()
	r := start(t, s)
	before, _ := r.Measure(context.Background(), nil)
	if err := r.Train(context.Background()); err != nil {
		t.Fatal(err)
	}
	after, _ := r.Measure(context.Background(), nil)
	if r.guard.rollbacks == 0 || !(after < before) {
		t.Errorf("%d rollbacks, held-out loss %g before, %g after", r.guard.rollbacks, before, after)
	}
}
