package train_test

import (
	"context"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"qtool/fixtures"
	"qtool/internal/sharedtest"
	"qtool/train"
)

// jobOn is a job with all defaults on a small model that was trained, and the notes that it
// gives.
func jobOn(t *testing.T, data string) (*train.Job, *[]string) {
	t.Helper()
	j := train.NewJob()
	j.Model, j.Data = sharedtest.Path(t, "data/stories260k/stories260K.gguf"), []string{data}
	j.Adapter = filepath.Join(t.TempDir(), "adapter.gguf")
	j.Threads = 2
	var notes []string
	j.Observer.Note = func(text string) { notes = append(notes, text) }
	return j, &notes
}

func run(t *testing.T, j *train.Job) *train.Report {
	t.Helper()
	r, err := j.Run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// mentions counts the texts that contain a part.
func mentions(texts []string, part string) (n int) {
	for _, text := range texts {
		if strings.Contains(text, part) {
			n++
		}
	}
	return n
}

func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestSmallDataAreLearnedWithAllDefaults(t *testing.T) {
	for _, name := range []string{"pets20", "pets50", "pets160"} {
		j, notes := jobOn(t, sharedtest.Path(t, "cases/train/"+name+".jsonl"))
		r := run(t, j)
		if r.Steps < 100 || !(*r.After.Loss < *r.Before.Loss/4) || r.Verdict != train.Better {
			t.Errorf("%s: %d steps, held-out loss %.4f before and %.4f after: %s", name, r.Steps, *r.Before.Loss, *r.After.Loss, r.Verdict)
		}
		if r.Chosen == "" || mentions(*notes, r.Chosen) != 1 {
			t.Errorf("%s: what was chosen, %q, must be said once: %q", name, r.Chosen, *notes)
		}
		// Only what the head cannot set apart is warned of.
		if len(r.Warnings) != 1 || mentions(r.Warnings, `"</s>" (token 2)`) != 1 || mentions(r.Warnings, "--targets all,output") != 1 {
			t.Errorf("%s: warnings %q", name, r.Warnings)
		}
	}
}

func TestFlagsWinOverWhatTheDataSuggest(t *testing.T) {
	j, notes := jobOn(t, sharedtest.Path(t, "cases/train/pets20.jsonl"))
	j.Seq, j.Packing, j.Config.Epochs = 2048, train.PackingOn, 3
	r := run(t, j)
	if r.Plan.Steps != 3 || r.Chosen != "" {
		t.Errorf("%d steps, chosen: %q", r.Plan.Steps, r.Chosen)
	}
	if mentions(r.Warnings, "learn much: 3,") != 1 || mentions(*notes, "--no-packing") != 1 {
		t.Errorf("warnings %q", r.Warnings)
	}
}

func TestRunsThatAreTooShortToLearnAreWarnedOf(t *testing.T) {
	pets := sharedtest.Path(t, "cases/train/pets50.jsonl")
	for name, c := range map[string]struct {
		data   string
		change func(*train.Job)
		want   []string
	}{
		"a record of three tokens":  {write(t, "one.jsonl", `{"prompt":"a","completion":"b"}`), nil, []string{"only 2 tokens to learn", "learn much: 10,", "--epochs 100"}},
		"a text of four bytes":      {write(t, "tiny.txt", "abcd"), nil, []string{"tokens to learn", "learn much: 10,"}},
		"few steps":                 {pets, func(j *train.Job) { j.Config.Steps = 5 }, []string{"learn much: 5,", "--steps 100"}},
		"large steps":               {pets, func(j *train.Job) { j.Config.Batch, j.Config.GradAccum = 8, 4 }, []string{"--batch 1 --grad-accum 1"}},
		"nothing but warm-up":       {pets, func(j *train.Job) { j.Config.Warmup = 500 }, []string{"the warm-up takes 141 of 141 steps"}},
		"a warm-up of most of them": {pets, func(j *train.Job) { j.Config.Warmup = 0.8 }, []string{"the warm-up takes"}},
	} {
		t.Run(name, func(t *testing.T) {
			j, notes := jobOn(t, c.data)
			if c.change != nil {
				c.change(j)
			}
			r := run(t, j)
			for _, part := range c.want {
				if mentions(r.Warnings, part) != 1 || mentions(*notes, part) != 1 {
					t.Errorf("%q is missing: %q, %q", part, r.Warnings, *notes)
				}
			}
		})
	}
}

func TestTheHeldOutLossIsOfADrawnPartAndTheSameWithAndWithoutPacking(t *testing.T) {
	measure := func(change func(*train.Job)) *train.Report {
		j, _ := jobOn(t, sharedtest.Path(t, "cases/train/vf"))
		j.Config.Steps, j.Config.Rate, j.Seq = 1, 1e-6, 512
		change(j)
		return run(t, j)
	}
	all := measure(func(j *train.Job) { j.Config.EvalTokens = 0 })
	packed := measure(func(j *train.Job) { j.Packing = train.PackingOn })
	single := measure(func(j *train.Job) { j.Packing = train.PackingOff })
	if math.Abs(*packed.Before.Loss-*single.Before.Loss) > 1e-5 {
		t.Errorf("the loss is %.6f with packing and %.6f without", *packed.Before.Loss, *single.Before.Loss)
	}
	if e := packed.Evaluated; e != single.Evaluated || e.Of != 300 || e.Examples >= 150 || e.Tokens < 12000 || e.Tokens > 20000 {
		t.Errorf("evaluated: %+v and %+v", e, single.Evaluated)
	}
	if e := all.Evaluated; e.Examples != 300 {
		t.Errorf("evaluated: %+v", e)
	}
	// Long records are harder here: what was evaluated, the longest ones, had 8.23, all have 9.36.
	if math.Abs(*packed.Before.Loss-*all.Before.Loss) > 0.4 {
		t.Errorf("the loss of the part is %.4f, of all %.4f", *packed.Before.Loss, *all.Before.Loss)
	}
}

func TestAWorseResultIsSaidFirst(t *testing.T) {
	j, _ := jobOn(t, sharedtest.Path(t, "cases/train/of.jsonl"))
	j.Config.Rate, j.Config.Epochs, j.Config.Batch, j.Seq, j.EvalSplit, j.Config.EvalEvery = 3e-3, 40, 2, 512, 0.25, 15
	r := run(t, j)
	if r.Verdict != train.Worse || !strings.Contains(r.Judgement, "worse than what the run began with (it was 3.4") || r.Best.Step != 15 {
		t.Errorf("%s: %s, %+v", r.Verdict, r.Judgement, r.Best)
	}
	j, _ = jobOn(t, sharedtest.Path(t, "cases/train/of.jsonl"))
	j.Config.Rate, j.Config.Steps = 1e-7, 2
	if r := run(t, j); r.Verdict != train.Unchanged || !strings.Contains(r.Judgement, "nothing was learned") {
		t.Errorf("%s: %s", r.Verdict, r.Judgement)
	}
	j.EvalSplit = 0
	if r := run(t, j); r.Verdict != train.Unknown {
		t.Errorf("%s: %s", r.Verdict, r.Judgement)
	}
}

func TestTheWayToTrainTheHeadFollowsTheJob(t *testing.T) {
	data := sharedtest.Path(t, "cases/train/pets20.jsonl")
	warnings := func(change func(*train.Job)) []string {
		j, _ := jobOn(t, data)
		change(j)
		return run(t, j).Warnings
	}
	if got := warnings(func(j *train.Job) { j.Targets = []string{"attention", "ffn_up"} }); mentions(got, "--targets attention,ffn_up,output trains the head too") != 1 {
		t.Errorf("warnings %q", got)
	}
	if got := warnings(func(j *train.Job) { j.Targets = []string{"all", "output"} }); len(got) != 0 {
		t.Errorf("warnings although the head is trained: %q", got)
	}
	if got := warnings(func(j *train.Job) { j.Full, j.Adapter = j.Adapter, "" }); len(got) != 0 {
		t.Errorf("warnings although all weights are trained: %q", got)
	}
}

func TestABaseOfTheUsersNeedsData(t *testing.T) {
	j := train.NewJob()
	j.Adapter = filepath.Join(t.TempDir(), "adapter.gguf")
	for _, set := range []func(){func() { j.Model = "base.gguf" }, func() { j.Model, j.Base = "", fixtures.TinyLlama(1, fixtures.Shape{}) }} {
		set()
		if _, err := j.Run(context.Background()); !errors.Is(err, train.ErrUsage) || !strings.Contains(err.Error(), "--data") {
			t.Errorf("expected a usage error about --data: %v", err)
		}
	}
}

func TestAnEstimateIsOfTheRowsThatARunChooses(t *testing.T) {
	j, notes := jobOn(t, sharedtest.Path(t, "cases/train/pets160.jsonl"))
	e, err := j.Estimate(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	r := run(t, j)
	if e.Seq != 128 || e.StepTokens != 128 || r.Seq != 128 {
		t.Errorf("rows of %d tokens are estimated, of %d trained", e.Seq, r.Seq)
	}
	if mentions(*notes, r.Chosen) != 2 { // once each
		t.Errorf("%q", *notes)
	}
	j.Data = []string{"missing.jsonl"}
	if _, err := j.Estimate(context.Background()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("data that are not there: %v", err)
	}
	j.Data = nil
	if e, err = j.Estimate(context.Background()); err != nil || e.Seq != train.DefaultSeq {
		t.Errorf("without data, rows of %d tokens are estimated, want the most there may be: %v", e.Seq, err)
	}
}
