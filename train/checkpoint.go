package train

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"qtool/gguf"
	"qtool/internal/dataset"
	"qtool/lora"
)

// ErrCheckpoint is in the chain of every error about a checkpoint that cannot
// continue the run.
var ErrCheckpoint = errors.New("checkpoint cannot be resumed")

// state is what a run must remember to go on exactly.
type state struct {
	step    int
	updates int
	average float64
	bad     int
	at      dataset.Position
	data    [][]float32 // parameters, first and second moments: 3 per parameter
}

// capture copies the state.
func (r *Run) capture() *state {
	s := &state{step: r.step, updates: r.adamw.updates, average: r.guard.average, bad: r.guard.bad, at: r.sampler.Position()}
	for i, p := range r.Params {
		s.data = append(s.data, slices.Clone(p.Data), slices.Clone(r.adamw.m[i]), slices.Clone(r.adamw.v[i]))
	}
	return s
}

// restoreWeights puts parameters and moments back; the run's place stays.
func (r *Run) restoreWeights(s *state) {
	for i, p := range r.Params {
		copy(p.Data, s.data[3*i])
		copy(r.adamw.m[i], s.data[3*i+1])
		copy(r.adamw.v[i], s.data[3*i+2])
	}
	r.adamw.updates = s.updates
}

const (
	checkpointKind    = "qtool.checkpoint"
	checkpointVersion = 1
)

// momentSuffixes name the three tensors that a parameter has in a checkpoint.
var momentSuffixes = [3]string{"", ".m", ".v"}

// progress is the part of a checkpoint that is not tensors.
type progress struct {
	Step     int              `json:"step"`
	Updates  int              `json:"updates"`
	Average  float64          `json:"average_loss"`
	Bad      int              `json:"bad_steps"`
	Position dataset.Position `json:"position"`
	Steps    int              `json:"steps"`
	Config   Config           `json:"config"`
}

// save writes a checkpoint if the run has a place for it. The file is a GGUF and
// appears whole or not at all.
func (r *Run) save() error {
	if r.CheckpointPath == "" {
		return nil
	}
	s := r.capture()
	body, err := json.Marshal(progress{s.step, s.updates, s.average, s.bad, s.at, r.totalSteps(), r.Config})
	if err != nil {
		return fmt.Errorf("writing checkpoint: %w", err)
	}
	md := &gguf.Metadata{}
	md.Set("general.type", checkpointKind)
	md.Set("qtool.checkpoint.version", uint32(checkpointVersion))
	md.Set("qtool.checkpoint.identity", r.Identity)
	md.Set("qtool.checkpoint.progress", string(body))
	var tensors []*gguf.Tensor
	for i, p := range r.Params {
		for k, suffix := range momentSuffixes {
			tensors = append(tensors, lora.Float32Tensor(p.Name+suffix, p.Shape, s.data[3*i+k]))
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
	s, err := r.readState(f)
	if err != nil {
		return fmt.Errorf("%s: %w: %w", path, ErrCheckpoint, err)
	}
	r.restoreWeights(s)
	r.step, r.guard.average, r.guard.bad = s.step, s.average, s.bad
	return nil
}

func (r *Run) readState(m gguf.Model) (*state, error) {
	md := m.Metadata()
	if kind, _ := md.Str("general.type"); kind != checkpointKind {
		return nil, fmt.Errorf("it is no checkpoint: general.type is %q", kind)
	}
	if v, _ := md.Int("qtool.checkpoint.version"); v != checkpointVersion {
		return nil, fmt.Errorf("its version is %d, this program reads %d", v, checkpointVersion)
	}
	if id, _ := md.Str("qtool.checkpoint.identity"); id != r.Identity {
		return nil, fmt.Errorf("it belongs to a run with another base, adapter shape or data:\nthere: %s\nhere:  %s", id, r.Identity)
	}
	text, err := md.Str("qtool.checkpoint.progress")
	if err != nil {
		return nil, err
	}
	var p progress
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		return nil, err
	}
	if err := r.sameCourse(p); err != nil {
		return nil, err
	}
	if err := r.sampler.Restore(p.Position); err != nil {
		return nil, err
	}
	s := &state{step: p.Step, updates: p.Updates, average: p.Average, bad: p.Bad, at: p.Position}
	for _, param := range r.Params {
		for _, suffix := range momentSuffixes {
			v, err := readFloats(m, param.Name+suffix, len(param.Data))
			if err != nil {
				return nil, err
			}
			s.data = append(s.data, v)
		}
	}
	return s, nil
}

// sameCourse asks for equal settings, as far as they decide the result.
func (r *Run) sameCourse(p progress) error {
	there, here := p.Config, r.Config
	there.EvalEvery, there.EvalTokens, there.SaveEvery = here.EvalEvery, here.EvalTokens, here.SaveEvery
	if there != here || p.Steps != r.totalSteps() {
		a, _ := json.Marshal(there)
		b, _ := json.Marshal(here)
		return fmt.Errorf("its settings differ, so the result would not be that of one run:\nthere: %d steps, %s\nhere:  %d steps, %s", p.Steps, a, r.totalSteps(), b)
	}
	return nil
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
	return lora.Float32s(b), nil
}
