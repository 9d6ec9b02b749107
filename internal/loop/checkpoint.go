package loop

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"qtool/gguf"
	"qtool/internal/atomicfile"
	"qtool/internal/input"
	"qtool/internal/kernel/simd"
)

// ErrCheckpoint is in the chain of every error about a checkpoint that cannot
// continue the run.
var ErrCheckpoint = errors.New("checkpoint cannot be resumed")

const (
	checkpointKind    = "qtool.checkpoint"
	checkpointVersion = 2
	keyTier           = "qtool.checkpoint.kernels"
)

// goodSuffix comes between the name of a parameter and that of a state where the tensor is
// of the last good weights. A parameter has a tensor for its values and for each state of
// the optimizer, and as many of the last good ones.
const goodSuffix = ".good"

// PreviousCheckpoint is where the checkpoint before the newest one is kept.
func PreviousCheckpoint(path string) string {
	ext := filepath.Ext(path)
	return strings.TrimSuffix(path, ext) + "-previous" + ext
}

// save writes a checkpoint if the run has a place for it, and keeps the one before it.
// The file is a GGUF and appears whole or not at all.
func (r *Run) save() error {
	if r.CheckpointPath == "" {
		return nil
	}
	r.loads.capture(r.Decoder)
	m, err := r.checkpoint()
	if err != nil {
		return fmt.Errorf("writing checkpoint: %w", err)
	}
	if r.keepsNewest {
		if err := atomicfile.Rename(r.CheckpointPath, PreviousCheckpoint(r.CheckpointPath)); err != nil {
			return fmt.Errorf("keeping the last checkpoint: %w", err)
		}
		r.keepsNewest = false
	}
	r.releaseSpace()
	// A checkpoint must be written even when the run was told to stop.
	if err := gguf.WriteFile(context.Background(), r.CheckpointPath, m, gguf.WithHashes()); err != nil {
		return fmt.Errorf("writing checkpoint: %w", err)
	}
	r.keepsNewest = true
	return r.report(Event{Type: CheckpointEvent, Step: r.step})
}

// saveOnTheWay is save for a run that goes on: that the disk is full now must not cost
// what was learned. The next checkpoint may find room.
func (r *Run) saveOnTheWay() error {
	if err := r.save(); errors.Is(err, input.ErrChanged) {
		return err
	} else if err != nil {
		return r.report(Event{Type: WarningEvent, Step: r.step, Reason: fmt.Sprintf("%v; training goes on, and tries again at the next checkpoint", err)})
	}
	return nil
}

// checkpoint is the run's state as a model.
func (r *Run) checkpoint() (gguf.Model, error) {
	body, err := json.Marshal(r.progress())
	if err != nil {
		return nil, err
	}
	identity, err := json.Marshal(r.Identity)
	if err != nil {
		return nil, err
	}
	md := &gguf.Metadata{}
	md.Set("general.type", checkpointKind)
	md.Set("qtool.checkpoint.version", uint32(checkpointVersion))
	md.Set(keyTier, simd.Active().String())
	md.Set("qtool.checkpoint.identity", string(identity))
	md.Set("qtool.checkpoint.progress", string(body))
	var tensors []*gguf.Tensor
	values, names := r.trained.values(), r.trained.valueNames()
	for i, p := range r.Params {
		for k, name := range names {
			tensors = append(tensors,
				gguf.Float32Tensor(p.Name+name, p.Shape, r.trained.Of(i, values[k])),
				gguf.Float32Tensor(p.Name+goodSuffix+name, p.Shape, r.trained.Of(i, r.good.values[k])))
		}
	}
	return gguf.Assemble(md, tensors, r.Decoder.Source()), nil
}

// Resumption is what is to be known of a run that goes on from a checkpoint.
type Resumption struct {
	// Damage is why the newest checkpoint could not be used, but the one before it. It
	// is nil if the newest one was.
	Damage error
	// Tier is that of the kernels which computed the checkpoint, see [simd.Tier]. On
	// another one the run does not end with the bits of a run that never stopped.
	Tier string
}

// Resume continues from the checkpoint at path, as if the run had never stopped, or
// from the one before it if that is damaged or missing. It fails with [ErrCheckpoint] if
// the checkpoint is of another run or neither is sound, and with [fs.ErrNotExist] if
// there is none.
func (r *Run) Resume(ctx context.Context, path string) (Resumption, error) {
	tier, newest := r.resumeFrom(ctx, path)
	if newest == nil {
		r.keepsNewest = true
		return Resumption{Tier: tier}, nil
	}
	if !errors.Is(newest, errDamaged) && !errors.Is(newest, fs.ErrNotExist) {
		return Resumption{}, newest
	}
	tier, previous := r.resumeFrom(ctx, PreviousCheckpoint(path))
	switch {
	case previous == nil:
		return Resumption{newest, tier}, nil
	case errors.Is(previous, fs.ErrNotExist):
		return Resumption{}, newest
	case errors.Is(previous, errDamaged) || errors.Is(newest, fs.ErrNotExist):
		return Resumption{}, errors.Join(newest, previous)
	}
	return Resumption{}, previous
}

func (r *Run) resumeFrom(ctx context.Context, path string) (tier string, err error) {
	f, err := gguf.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if errors.Is(err, gguf.ErrFormat) {
		return "", fmt.Errorf("%w: %w: %w", ErrCheckpoint, errDamaged, err)
	}
	if err != nil {
		return "", fmt.Errorf("resuming: %w", err)
	}
	defer f.Close()
	if err := r.resume(ctx, f); err != nil {
		return "", fmt.Errorf("%s: %w: %w", path, ErrCheckpoint, err)
	}
	return gguf.Or(f.Metadata().Str(keyTier))("")
}

func (r *Run) resume(ctx context.Context, m gguf.Model) error {
	unhashed := gguf.CheckHashes(ctx, m)
	if errors.Is(unhashed, gguf.ErrFormat) {
		return fmt.Errorf("%w: %w", errDamaged, unhashed)
	}
	if err := checkKind(m.Metadata()); err != nil { // those of version 1 have no hashes
		return err
	}
	if errors.Is(unhashed, gguf.ErrMissing) {
		return fmt.Errorf("%w: %w", errDamaged, unhashed)
	} else if unhashed != nil {
		return unhashed
	}
	p, err := r.readProgress(m.Metadata())
	if err != nil {
		return err
	}
	now, err := r.readSnapshot(m, "")
	if err != nil {
		return err
	}
	good, err := r.readSnapshot(m, goodSuffix)
	if err != nil {
		return err
	}
	now.step, now.updates = p.Step, p.Updates
	good.step, good.updates = p.GoodStep, p.GoodUpdates
	if p.Loads != nil {
		if err := p.Loads.check(r.Decoder); err != nil {
			return fmt.Errorf("%w: %w", errDamaged, err)
		}
	}
	if err := r.sampler.Restore(p.Position); err != nil {
		return err
	}
	if p.Loads != nil {
		p.Loads.restore(r.Decoder)
	}
	now.restore(r.trained)
	r.good, r.step = good, p.Step
	g := r.guard
	g.average, g.last, g.skipped, g.recent, g.failures, g.rollbacks, g.looked = p.Average, p.Last, p.Skipped, p.Recent, p.Failures, p.Rollbacks, p.Looked
	return nil
}

// checkKind makes sure that md is of a checkpoint that this program reads.
func checkKind(md *gguf.Metadata) error {
	if kind, _ := md.Str("general.type"); kind != checkpointKind {
		return fmt.Errorf("it is no checkpoint: general.type is %q", kind)
	}
	if v, _ := md.Int("qtool.checkpoint.version"); v != checkpointVersion {
		return fmt.Errorf("its version is %d, this program reads %d; finish the run with the program that began it, or begin it anew in another --run-dir", v, checkpointVersion)
	}
	return nil
}

// readSnapshot reads the values of all parameters from tensors with that suffix.
func (r *Run) readSnapshot(m gguf.Model, suffix string) (snapshot, error) {
	var s snapshot
	for _, name := range r.trained.valueNames() {
		values := make([]float32, len(r.trained.Data))
		for i, p := range r.Params {
			if err := readFloats(m, p.Name+suffix+name, r.trained.Of(i, values)); err != nil {
				return s, err
			}
		}
		s.values = append(s.values, values)
	}
	return s, nil
}

// readFloats fills values from a tensor of as many.
func readFloats(m gguf.Model, name string, values []float32) error {
	t, ok := m.Tensor(name)
	if !ok || t.Type != gguf.F32 || t.Elements() != len(values) {
		return fmt.Errorf("tensor %q is missing or does not have %d float32 elements", name, len(values))
	}
	b, err := t.Bytes()
	if err != nil {
		return err
	}
	copy(values, gguf.DecodeFloat32(b))
	return nil
}
