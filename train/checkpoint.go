package train

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"qtool/gguf"
	"qtool/internal/dataset"
)

// ErrCheckpoint is in the chain of every error about a checkpoint that cannot
// continue the run.
var ErrCheckpoint = errors.New("checkpoint cannot be resumed")

// weights is a copy of what training changes.
type weights struct {
	step    int // after which it was taken
	updates int
	data    [][]float32 // of each parameter: its values, first and second moments
}

// live lists what training changes, in the order of weights.data.
func (r *Run) live() [][]float32 {
	var out [][]float32
	for i, p := range r.Params {
		out = append(out, p.Data, r.adamw.m[i], r.adamw.v[i])
	}
	return out
}

// capture copies the weights as they are.
func (w *weights) capture(r *Run) {
	live := r.live()
	if w.data == nil {
		w.data = make([][]float32, len(live))
	}
	for i, v := range live {
		w.data[i] = append(w.data[i][:0], v...)
	}
	w.step, w.updates = r.step, r.adamw.updates
}

// restore puts the weights back; the run's place in the data stays.
func (w *weights) restore(r *Run) {
	for i, v := range r.live() {
		copy(v, w.data[i])
	}
	r.adamw.updates = w.updates
}

const (
	checkpointKind    = "qtool.checkpoint"
	checkpointVersion = 1
)

// A parameter has three tensors in a checkpoint, and three more with the last
// good state in their names.
var (
	momentSuffixes = [3]string{"", ".m", ".v"}
	goodSuffix     = ".good"
)

// progress is the part of a checkpoint that is not tensors.
type progress struct {
	Step        int              `json:"step"`
	Updates     int              `json:"updates"`
	Average     float64          `json:"average_loss"`
	Bad         int              `json:"bad_steps"`
	GoodStep    int              `json:"good_step"`
	GoodUpdates int              `json:"good_updates"`
	Position    dataset.Position `json:"position"`
	Steps       int              `json:"steps"`
	Config      Config           `json:"config"`
	Loads       loadCounts       `json:"expert_loads,omitempty"` // of a base with experts
}

// save writes a checkpoint if the run has a place for it. The file is a GGUF and
// appears whole or not at all.
func (r *Run) save() error {
	if r.CheckpointPath == "" {
		return nil
	}
	r.loads.capture(r.Decoder)
	body, err := json.Marshal(progress{
		Step: r.step, Updates: r.adamw.updates, Average: r.guard.average, Bad: r.guard.bad,
		GoodStep: r.good.step, GoodUpdates: r.good.updates,
		Position: r.sampler.Position(), Steps: r.totalSteps(), Config: r.Config, Loads: r.loads,
	})
	if err != nil {
		return fmt.Errorf("writing checkpoint: %w", err)
	}
	identity, err := json.Marshal(r.Identity)
	if err != nil {
		return fmt.Errorf("writing checkpoint: %w", err)
	}
	md := &gguf.Metadata{}
	md.Set("general.type", checkpointKind)
	md.Set("qtool.checkpoint.version", uint32(checkpointVersion))
	md.Set("qtool.checkpoint.identity", string(identity))
	md.Set("qtool.checkpoint.progress", string(body))
	var tensors []*gguf.Tensor
	live := r.live()
	for i, p := range r.Params {
		for k, suffix := range momentSuffixes {
			tensors = append(tensors,
				gguf.Float32Tensor(p.Name+suffix, p.Shape, live[3*i+k]),
				gguf.Float32Tensor(p.Name+goodSuffix+suffix, p.Shape, r.good.data[3*i+k]))
		}
	}
	// A checkpoint must be written even when the run was told to stop.
	if err := gguf.WriteFile(context.Background(), r.CheckpointPath, gguf.Assemble(md, tensors)); err != nil {
		return fmt.Errorf("writing checkpoint: %w", err)
	}
	return r.report(Event{Type: CheckpointEvent, Step: r.step})
}

// Resume continues from the checkpoint at path, as if the run had never
// stopped. It fails with [ErrCheckpoint] if the checkpoint is of another run.
func (r *Run) Resume(path string) error {
	f, err := gguf.Open(path)
	if err != nil {
		return fmt.Errorf("resuming: %w", err)
	}
	defer f.Close()
	if err := r.resume(f); err != nil {
		return fmt.Errorf("%s: %w: %w", path, ErrCheckpoint, err)
	}
	return nil
}

func (r *Run) resume(m gguf.Model) error {
	p, err := r.readProgress(m.Metadata())
	if err != nil {
		return err
	}
	now := weights{step: p.Step, updates: p.Updates}
	good := weights{step: p.GoodStep, updates: p.GoodUpdates}
	for _, param := range r.Params {
		for _, suffix := range momentSuffixes {
			v, err := readFloats(m, param.Name+suffix, len(param.Data))
			if err != nil {
				return err
			}
			g, err := readFloats(m, param.Name+goodSuffix+suffix, len(param.Data))
			if err != nil {
				return err
			}
			now.data, good.data = append(now.data, v), append(good.data, g)
		}
	}
	if p.Loads != nil {
		if err := p.Loads.check(r.Decoder); err != nil {
			return err
		}
	}
	if err := r.sampler.Restore(p.Position); err != nil {
		return err
	}
	if p.Loads != nil { // older checkpoints have none
		p.Loads.restore(r.Decoder)
	}
	now.restore(r)
	r.good, r.step, r.guard.average, r.guard.bad = good, p.Step, p.Average, p.Bad
	return nil
}

// readProgress reads a checkpoint's metadata and makes sure that it is of this run.
func (r *Run) readProgress(md *gguf.Metadata) (*progress, error) {
	if kind, _ := md.Str("general.type"); kind != checkpointKind {
		return nil, fmt.Errorf("it is no checkpoint: general.type is %q", kind)
	}
	if v, _ := md.Int("qtool.checkpoint.version"); v != checkpointVersion {
		return nil, fmt.Errorf("its version is %d, this program reads %d", v, checkpointVersion)
	}
	var identity map[string]string
	if text, _ := md.Str("qtool.checkpoint.identity"); json.Unmarshal([]byte(text), &identity) != nil {
		return nil, fmt.Errorf("it does not say which run it belongs to")
	}
	text, err := md.Str("qtool.checkpoint.progress")
	if err != nil {
		return nil, err
	}
	var p progress
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		return nil, err
	}
	there, here := p.Config, r.Config
	there.EvalEvery, there.EvalTokens, there.SaveEvery = here.EvalEvery, here.EvalTokens, here.SaveEvery
	list := append(differences(there.values(p.Steps), here.values(r.totalSteps())), differences(identity, r.Identity)...)
	if len(list) > 0 {
		return nil, fmt.Errorf("it belongs to another run: %s", strings.Join(list, "; "))
	}
	return &p, nil
}

// values are the settings by name, as text.
func (c Config) values(steps int) map[string]string {
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
			list = append(list, fmt.Sprintf("%s: %s there, %s here", name, excerpt(a, b), excerpt(b, a)))
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
	return text
}

func readFloats(m gguf.Model, name string, n int) ([]float32, error) {
	t, ok := m.Tensor(name)
	if !ok || t.Type != gguf.F32 || t.Elements() != n {
		return nil, fmt.Errorf("tensor %s is missing or does not have %d float32 elements", name, n)
	}
	b, err := t.Bytes()
	if err != nil {
		return nil, err
	}
	return gguf.DecodeFloat32(b), nil
}
