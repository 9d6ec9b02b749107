package loop

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"qtool/gguf"
)

// stopAfter runs a run whose checkpoints go to path until it has taken so many steps.
func stopAfter(t *testing.T, s Setup, path string, steps int) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s.CheckpointPath = path
	s.Report = func(e Event) error {
		if e.Type == StepEvent && e.Step == steps {
			cancel()
		}
		return nil
	}
	if err := start(t, s).Train(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("the stopped run returned %v", err)
	}
}

func TestEveryFlippedBitOfTheNewestCheckpointIsFoundAndTheOneBeforeTaken(t *testing.T) {
	c := smallConfig()
	s, _ := setup(t, 1, c)
	whole := start(t, s)
	if err := whole.Train(context.Background()); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "checkpoint.gguf")
	s, _ = setup(t, 1, c)
	stopAfter(t, s, path, 5) // checkpoints of steps 4 and 5
	sound, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s, _ = setup(t, 1, c)
	for at := 0; at < len(sound); at += 1 + len(sound)/400 {
		damaged := append([]byte(nil), sound...)
		damaged[at] ^= 1 << (at % 8)
		if err := os.WriteFile(path, damaged, 0o666); err != nil {
			t.Fatal(err)
		}
		r := start(t, s)
		from, err := r.Resume(context.Background(), path)
		damage := from.Damage
		if err != nil {
			t.Errorf("byte %d: %v", at, err)
			continue
		}
		// Padding between tensors is read by nobody.
		if damage == nil && r.Step() != 5 || damage != nil && r.Step() != 4 {
			t.Errorf("byte %d: at step %d, damage: %v", at, r.Step(), damage)
		}
		if damage != nil && !strings.Contains(damage.Error(), path) {
			t.Errorf("byte %d: %v does not name the file", at, damage)
		}
	}
	damaged := append([]byte(nil), sound...)
	damaged[len(damaged)-5] ^= 4
	if err := os.WriteFile(path, damaged, 0o666); err != nil {
		t.Fatal(err)
	}
	s, _ = setup(t, 1, c)
	s.CheckpointPath = path
	again := start(t, s)
	if from, err := again.Resume(context.Background(), path); from.Damage == nil || err != nil {
		t.Fatal(from, err)
	}
	if err := again.save(); err != nil { // it must not take the place of the sound one
		t.Fatal(err)
	}
	if _, err := start(t, s).Resume(context.Background(), PreviousCheckpoint(path)); err != nil {
		t.Error(err)
	}
	if err := again.Train(context.Background()); err != nil {
		t.Fatal(err)
	}
	if !sameBits(values(whole), values(again)) {
		t.Error("from the checkpoint before the damaged one the run ends with other weights")
	}
}

func TestWithoutASoundCheckpointNothingIsResumed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "checkpoint.gguf")
	s, _ := setup(t, 1, smallConfig())
	if _, err := start(t, s).Resume(context.Background(), path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("there is none: %v", err)
	}
	stopAfter(t, s, path, 5)
	for _, p := range []string{path, PreviousCheckpoint(path)} {
		if err := os.Truncate(p, 1000); err != nil {
			t.Fatal(err)
		}
	}
	s, _ = setup(t, 1, smallConfig())
	if _, err := start(t, s).Resume(context.Background(), path); !errors.Is(err, ErrCheckpoint) {
		t.Errorf("both are cut off: %v", err)
	}
}

func TestCountersThatNoRunReachesAreNotBelieved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "checkpoint.gguf")
	s, _ := setup(t, 1, smallConfig())
	stopAfter(t, s, path, 5)
	os.Remove(PreviousCheckpoint(path))
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	text, _ := f.Metadata().Str("qtool.checkpoint.progress")
	for name, value := range map[string]any{
		"step": -5, "updates": 6, "average_loss": -1, "skipped_in_a_row": 99, "recent_rows": []int{0, 10},
		"rollbacks_to_good_step": 3, "rollbacks": 1 << 40, "looked_for_good": -1, "good_step": 7, "good_updates": 1,
		"position": map[string]any{"seed": 42, "rows": 10, "epoch": 0, "index": 3},
	} {
		var p map[string]any
		if err := json.Unmarshal([]byte(text), &p); err != nil {
			t.Fatal(err)
		}
		if _, ok := p[name]; !ok {
			t.Fatalf("a checkpoint has no %s", name)
		}
		p[name] = value
		body, _ := json.Marshal(p)
		md := f.Metadata().Clone()
		md.Set("qtool.checkpoint.progress", string(body))
		forged := filepath.Join(t.TempDir(), "forged.gguf")
		if err := gguf.WriteFile(context.Background(), forged, gguf.Assemble(md, f.Tensors()), gguf.WithHashes()); err != nil {
			t.Fatal(err)
		}
		s, _ := setup(t, 1, smallConfig())
		r := start(t, s)
		if _, err := r.Resume(context.Background(), forged); !errors.Is(err, errDamaged) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s %v: %v", name, value, err)
		}
		if r.Step() != 0 {
			t.Errorf("%s %v: the run stands at step %d", name, value, r.Step())
		}
	}
}

func TestACheckpointOfAnEarlierFormatIsRefusedByItsVersion(t *testing.T) {
	path := filepath.Join(t.TempDir(), "checkpoint.gguf")
	md := &gguf.Metadata{}
	md.Set("general.type", checkpointKind)
	md.Set("qtool.checkpoint.version", uint32(1))
	if err := gguf.WriteFile(context.Background(), path, gguf.Assemble(md, nil)); err != nil {
		t.Fatal(err)
	}
	s, _ := setup(t, 1, smallConfig())
	_, err := start(t, s).Resume(context.Background(), path)
	if !errors.Is(err, ErrCheckpoint) || !strings.Contains(err.Error(), "its version is 1") {
		t.Error(err)
	}
}
