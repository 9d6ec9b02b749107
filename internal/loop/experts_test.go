package loop

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"qtool/fixtures"
	"qtool/internal/dataset"
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
		if last.Type != ExpertsEvent || len(last.Experts) != len(r.Decoder.Layers) {
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

// The gradients of auxiliary losses: over the batches of a step they add up, each weighed
// by its part of the step's tokens, so that of the mean over tokens nothing depends on
// how rows are parted.
func TestRouterLossesAddUpOverBatches(t *testing.T) {
	gradients := func(balance, z float64, batches ...[]int) []float32 {
		c := smallConfig()
		c.RouterBalance, c.RouterZ = balance, z
		r := unevenRun(t, fixtures.TinyLlama(1, fixtures.Shape{Experts: 5}), c, false)
		l := r.learner
		tokens := 0
		for _, batch := range batches {
			for _, i := range batch {
				tokens += r.Rows[i].Len()
			}
		}
		l.router.begin(tokens)
		for _, batch := range batches {
			var rows []dataset.Row
			for _, i := range batch {
				rows = append(rows, r.Rows[i])
			}
			l.accumulate(rows, 0) // the router's losses alone
		}
		var out []float32
		for _, p := range r.Params {
			out = append(out, p.Grad...)
		}
		return out
	}
	near := func(what string, a, b []float32) {
		t.Helper()
		var norm, apart float64
		for i := range a {
			norm += float64(a[i]) * float64(a[i])
			apart += math.Pow(float64(a[i]-b[i]), 2)
		}
		if !(norm > 0 && apart <= 1e-10*norm) {
			t.Errorf("%s: gradients of norm² %g are %g apart", what, norm, apart)
		}
	}
	near("z loss in one batch and in three", gradients(0, 1, []int{0, 3, 5}), gradients(0, 1, []int{0}, []int{3}, []int{5}))

	// The balance is one of a batch: that of a step is the mean.
	sum := make([]float32, len(gradients(1, 0, []int{0})))
	of := func(row int) float32 { return float32(3+4*(row+2)) / float32(11+23+31) } // rows 0, 3 and 5 of unevenRun
	for _, row := range []int{0, 3, 5} {
		for i, g := range gradients(1, 0, []int{row}) {
			sum[i] += of(row) * g
		}
	}
	near("balance of three batches", gradients(1, 0, []int{0}, []int{3}, []int{5}), sum)
}

func TestARunThatIsStoppedWithinAStepCountsItsExpertsOnce(t *testing.T) {
	c := smallConfig()
	c.Steps, c.GradAccum, c.RouterBalance, c.RouterZ = 3, 3, 0.1, 0.1
	s, _ := setup(t, 1, c)
	whole, begin := start(t, s), time.Now()
	if err := whole.Train(context.Background()); err != nil {
		t.Fatal(err)
	}
	took, stopped := time.Since(begin), 0
	const times = 24
	for i := range times {
		s, _ := setup(t, 2, c)
		s.CheckpointPath = filepath.Join(t.TempDir(), "checkpoint.gguf")
		r := start(t, s)
		ctx, cancel := context.WithTimeout(context.Background(), took*time.Duration(i)/times)
		err := r.Train(ctx)
		if cancel(); err == nil {
			continue
		}
		if stopped++; !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		again := start(t, s)
		if _, err := again.Resume(context.Background(), s.CheckpointPath); err != nil {
			t.Fatal(err)
		}
		if _, err := again.Probe(context.Background()); err != nil {
			t.Fatal(err)
		}
		if err := again.Train(context.Background()); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(whole.ExpertLoads(), again.ExpertLoads()); diff != "" {
			t.Errorf("stopped at step %d: %s", r.Step(), diff)
		}
		if !sameBits(values(whole), values(again)) {
			t.Errorf("stopped at step %d the result is another", r.Step())
		}
	}
}

func TestCountsOfExpertsThatMakeNoSenseAreRefused(t *testing.T) {
	s, _ := setup(t, 1, smallConfig())
	var good loadCounts
	if err := json.Unmarshal([]byte(`[{"layer":0,"tokens":4,"chosen":[4,0,4,0]},{"layer":1,"tokens":0,"chosen":[]}]`), &good); err != nil {
		t.Fatal(err)
	}
	if err := good.check(s.Decoder); err != nil {
		t.Error(err)
	}
	for _, text := range []string{
		`[]`, `[{"layer":0,"tokens":1,"chosen":[1,1,0,0]}]`,
		`[{"layer":0,"tokens":1,"chosen":[1,1,0]},{"layer":1}]`,
		`[{"layer":0,"tokens":1,"chosen":[2,0,0,0]},{"layer":1}]`,
		`[{"layer":0,"tokens":1,"chosen":[-1,1,1,0]},{"layer":1}]`,
		`[{"layer":1},{"layer":0}]`, `[{"layer":0,"tokens":-1},{"layer":1}]`, `[{"layer":0,"tokens":7},{"layer":1}]`,
	} {
		var bad loadCounts
		if err := json.Unmarshal([]byte(text), &bad); err != nil {
			t.Fatal(err)
		}
		if bad.check(s.Decoder) == nil {
			t.Errorf("%s is accepted", text)
		}
	}
}
