package train

import (
	"context"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"

	"qtool/fixtures"
	"qtool/internal/nn"
)

func TestARunReportsHowItUsedItsExperts(t *testing.T) {
	var reported [2][]ExpertLoad
	for i, checkpointing := range []bool{false, true} {
		c := smallConfig()
		c.Checkpointing, c.Steps = checkpointing, 5
		r := unevenRun(t, fixtures.TinyLlama(1, fixtures.Shape{Experts: 5}), c, false)
		r.PlanMemory()
		if _, err := r.Probe(context.Background()); err != nil {
			t.Fatal(err)
		}
		var tokens int64
		var last Event
		r.Report = func(e Event) error {
			if e.Type == StepEvent {
				tokens += int64(e.Tokens)
			}
			last = e
			return nil
		}
		if err := r.Train(context.Background()); err != nil {
			t.Fatal(err)
		}
		if last.Type != ExpertsEvent || len(last.Experts) != r.Decoder.Layers {
			t.Fatalf("the last event is %+v", last)
		}
		for _, l := range last.Experts {
			var sum float64
			for _, s := range l.Share {
				sum += s
			}
			if l.Tokens != tokens || len(l.Share) != 5 || math.Abs(sum-2) > 1e-9 || l.Entropy <= 0 || l.Entropy > 1 {
				t.Errorf("of %d tokens, 2 experts each, layer %d reports %+v", tokens, l.Layer, l)
			}
		}
		line, err := json.Marshal(last)
		if err != nil || !strings.HasPrefix(string(line), `{"type":"experts","step":5,"layers":[{"layer":0,"tokens":`) {
			t.Errorf("metrics say %s (%v)", line, err)
		}
		reported[i] = last.Experts
	}
	for l := range reported[0] {
		if !slices.Equal(reported[0][l].Share, reported[1][l].Share) {
			t.Errorf("layer %d: %v, with checkpointing %v", l, reported[0][l].Share, reported[1][l].Share)
		}
	}
}

func TestLoadsCountExpertsThatNobodyChose(t *testing.T) {
	l := newExpertLoad(3, &nn.Load{Chosen: []int64{4, 0, 4, 0}, Tokens: 4})
	if l.Layer != 3 || l.NeverRouted != 2 || math.Abs(l.Entropy-0.5) > 1e-12 || !slices.Equal(l.Share, []float64{1, 0, 1, 0}) {
		t.Errorf("%+v", l)
	}
}

// lastRouterLosses trains for some steps and gives the means of the last.
func lastRouterLosses(t *testing.T, c Config) (balance, z float64) {
	r := unevenRun(t, fixtures.TinyLlama(1, fixtures.Shape{Experts: 8, ExpertsUsed: 1}), c, false)
	r.Report = func(e Event) error {
		if e.Type == StepEvent {
			balance, z = e.RouterBalance, e.RouterZ
		}
		return nil
	}
	if err := r.Train(context.Background()); err != nil {
		t.Fatal(err)
	}
	return balance, z
}

func TestRouterLossesDoWhatTheyAreFor(t *testing.T) {
	c := smallConfig()
	c.Steps, c.Checkpointing = 30, true
	c.RouterBalance, c.RouterZ = 1e-12, 0 // measured only
	before, zBefore := lastRouterLosses(t, c)
	c.RouterBalance = 1
	after, _ := lastRouterLosses(t, c)
	c.RouterBalance, c.RouterZ = 0, 1
	_, zAfter := lastRouterLosses(t, c)
	t.Logf("balance %.4f, with its loss %.4f; z %.4f, with its loss %.4f", before, after, zBefore, zAfter)
	if !(after < before && after >= 1 && zAfter < zBefore/2) {
		t.Error("they do not")
	}
}
