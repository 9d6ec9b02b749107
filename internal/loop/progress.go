package loop

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"qtool/gguf"
	"qtool/internal/dataset"
	"qtool/internal/printable"
)

// errDamaged is in the chain of the error about a checkpoint that is not what was
// written.
var errDamaged = errors.New("the checkpoint is damaged")

// progress is the part of a checkpoint that is not tensors.
type progress struct {
	Step        int              `json:"step"`
	Updates     int              `json:"updates"`
	Average     float64          `json:"average_loss"`
	Last        float64          `json:"last_loss"` // 0 in those of versions that did not write it
	Skipped     int              `json:"skipped_in_a_row"`
	Recent      []int            `json:"recent_rows"`
	Failures    int              `json:"rollbacks_to_good_step"`
	Rollbacks   int              `json:"rollbacks"`
	Looked      int              `json:"looked_for_good"`
	GoodStep    int              `json:"good_step"`
	GoodUpdates int              `json:"good_updates"`
	Position    dataset.Position `json:"position"`
	Steps       int              `json:"steps"`
	Config      Config           `json:"config"`
	Loads       loadCounts       `json:"expert_loads,omitempty"` // of a base with experts
}

// progress is where the run stands.
func (r *Run) progress() progress {
	g := r.guard
	return progress{
		Step: r.step, Updates: r.trained.updates,
		Average: g.average, Last: g.last, Skipped: g.skipped, Recent: g.recent, Failures: g.failures, Rollbacks: g.rollbacks, Looked: g.looked,
		GoodStep: r.good.step, GoodUpdates: r.good.updates,
		Position: r.sampler.Position(), Steps: r.totalSteps(), Config: r.Config, Loads: r.loads,
	}
}

// check reports a count that no run like r can have reached. Each is held against the
// others, so that a checkpoint which makes no sense is not believed.
func (p *progress) check(r *Run) error {
	drawn, at := p.Step*r.rowsPerStep(), p.Position
	if r.Config.Steps == 0 {
		drawn = min(drawn, len(r.Rows)*r.Config.Epochs)
	}
	inRun := func(row int) bool { return row >= 0 && row < len(r.Rows) }
	for _, c := range []struct {
		name  string
		value any
		sound bool
	}{
		{"step", p.Step, p.Step >= 0 && p.Step <= r.totalSteps()},
		{"updates", p.Updates, p.Updates >= 0 && p.Updates <= p.Step},
		{"good_step", p.GoodStep, p.GoodStep >= 0 && p.GoodStep <= p.Step},
		{"good_updates", p.GoodUpdates, p.GoodUpdates >= 0 && p.GoodUpdates <= min(p.GoodStep, p.Updates)},
		{"looked_for_good", p.Looked, p.Looked >= p.GoodStep && p.Looked <= p.Step},
		{"average_loss", p.Average, p.Average >= 0 && finite(p.Average)},
		{"last_loss", p.Last, p.Last >= 0 && finite(p.Last)},
		{"skipped_in_a_row", p.Skipped, p.Skipped >= 0 && p.Skipped < skipLimit && p.Skipped <= p.Step},
		{"rollbacks_to_good_step", p.Failures, p.Failures >= 0 && p.Failures < failureLimit && p.Failures <= p.Rollbacks},
		{"rollbacks", p.Rollbacks, p.Rollbacks <= p.Step},
		{"recent_rows", p.Recent, len(p.Recent) <= recentRows && !slices.ContainsFunc(p.Recent, func(row int) bool { return !inRun(row) })},
		{"position", at, at.Epoch >= 0 && at.Epoch*len(r.Rows)+at.Index == drawn},
	} {
		if !c.sound {
			return fmt.Errorf("its %s is %v at step %d of %d, which no run reaches", c.name, c.value, p.Step, r.totalSteps())
		}
	}
	return nil
}

// readProgress reads a checkpoint's metadata and makes sure that it is of this run.
func (r *Run) readProgress(md *gguf.Metadata) (*progress, error) {
	var identity map[string]string
	if text, _ := md.Str("qtool.checkpoint.identity"); json.Unmarshal([]byte(text), &identity) != nil {
		return nil, fmt.Errorf("it does not say which run it belongs to")
	}
	text, err := md.Str("qtool.checkpoint.progress")
	if err != nil {
		return nil, err
	}
	var p progress
	dec := json.NewDecoder(strings.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&p); err != nil {
		return nil, fmt.Errorf("its progress cannot be read; a later version of this program may have written it: %w", err)
	}
	there, here := p.Config, r.Config
	there.EvalEvery, there.EvalTokens, there.SaveEvery = here.EvalEvery, here.EvalTokens, here.SaveEvery
	list := append(differences(valuesOf(there, p.Steps), valuesOf(here, r.totalSteps())), differences(identity, r.Identity)...)
	if len(list) > 0 {
		return nil, fmt.Errorf("it belongs to another run: %s", strings.Join(list, "; "))
	}
	if err := p.check(r); err != nil {
		return nil, fmt.Errorf("%w: %w", errDamaged, err)
	}
	return &p, nil
}

// valuesOf are the settings by name, as text.
func valuesOf(c Config, steps int) map[string]string {
	body, _ := json.Marshal(c)
	var fields map[string]any
	json.Unmarshal(body, &fields)
	text := map[string]string{"steps in all": fmt.Sprint(steps)}
	for name, v := range fields {
		text[name] = fmt.Sprint(v)
	}
	return text
}

// differences tells which values differ. Of long ones it shows where they begin to.
func differences(there, here map[string]string) (list []string) {
	all := maps.Clone(there)
	maps.Copy(all, here)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		a, inA := there[name]
		b, inB := here[name]
		if a != b || inA != inB {
			list = append(list, fmt.Sprintf("%s: %s there, %s here", printable.Text(name), excerpt(a, b), excerpt(b, a)))
		}
	}
	return list
}

// excerpt is text, or if that is long the first word that differs from other.
func excerpt(text, other string) string {
	const long = 40
	if len(text) > long || len(other) > long {
		same := 0
		for same < min(len(text), len(other)) && text[same] == other[same] {
			same++
		}
		text, _, _ = strings.Cut(text[strings.LastIndexByte(text[:same], ' ')+1:], " ")
	}
	if len(text) > long {
		text = text[:long] + "…"
	}
	if text == "" {
		return "nothing"
	}
	return printable.Text(text)
}
