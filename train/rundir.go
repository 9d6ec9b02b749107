package train

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"

	"qtool/internal/atomicfile"
	"qtool/internal/kernel/simd"
	"qtool/internal/loop"
	"qtool/internal/usage"
	"qtool/train/run"
)

func (f *tuning) checkpoint() string {
	if f.RunDir == "" {
		return ""
	}
	return filepath.Join(f.RunDir, "checkpoint.gguf")
}

func (f *tuning) metricsPath() string { return filepath.Join(f.RunDir, "metrics.jsonl") }

func (f *tuning) lockPath() string { return filepath.Join(f.RunDir, "lock") }

// lockWait is how long a run waits for the run directory: that long the system may take
// to end a process that was just killed.
const lockWait = 2 * time.Second

// lockRunDir makes the run directory and keeps other runs out of it. The lock ends with
// the process, whatever ends that.
func (f *tuning) lockRunDir(ctx context.Context) error {
	if f.RunDir == "" {
		return nil
	}
	if err := atomicfile.MkdirAll(f.RunDir, 0o777); err != nil {
		return err
	}
	lock := flock.New(f.lockPath())
	wait, cancel := context.WithTimeout(ctx, lockWait)
	defer cancel()
	taken, err := lock.TryLockContext(wait, 20*time.Millisecond)
	switch {
	case taken:
		f.lock = lock
		return f.lookForCheckpoint()
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("another run is using the run directory %s; wait for its end, or choose another --run-dir", f.RunDir)
	}
	return fmt.Errorf("locking the run directory %s: %w", f.RunDir, err)
}

// lookForCheckpoint refuses to begin anew where there is a checkpoint.
func (f *tuning) lookForCheckpoint() error {
	there, err := f.checkpoints()
	switch {
	case err != nil:
		return fmt.Errorf("looking for a checkpoint: %w", err)
	case there == 0 && f.Resume:
		f.note("%s has no checkpoint yet: starting from the beginning", f.RunDir)
	case there > 0 && !f.Resume:
		return usage.Errorf("%s holds the checkpoint of an earlier run; go on with --resume, or choose another --run-dir", f.RunDir)
	}
	return nil
}

// openRunDir takes the run to where it stopped, if it is to go on, and opens its record.
func (f *tuning) openRunDir(ctx context.Context) error {
	if f.RunDir == "" {
		return nil
	}
	there, err := f.checkpoints()
	switch {
	case err != nil:
		return fmt.Errorf("looking for a checkpoint: %w", err)
	case there > 0:
		from, err := f.session.Resume(ctx, f.checkpoint())
		if err != nil {
			return err
		}
		f.report.Steps, f.report.LastLoss = f.session.Step(), f.session.LastLoss()
		if from.Damage != nil {
			f.note("%v", from.Damage)
			f.note("going on from the checkpoint before it, %s", loop.PreviousCheckpoint(f.checkpoint()))
		}
		if here := simd.Active().String(); from.Tier != here {
			f.note("the run was computed with the kernels %q so far, and goes on with %q: it will not end with the same bits as one that was not moved", from.Tier, here)
		}
		f.note("resuming after step %d", f.report.Steps)
	}
	if f.metrics, err = loop.OpenMetrics(f.metricsPath(), f.session.Step()); err != nil {
		f.note("warning: %v; the run goes on without a record", err)
	}
	return nil
}

// checkpoints counts the checkpoints in the run directory.
func (f *tuning) checkpoints() (n int, err error) {
	for _, path := range []string{f.checkpoint(), loop.PreviousCheckpoint(f.checkpoint())} {
		_, err := os.Stat(path)
		switch {
		case err == nil:
			n++
		case !errors.Is(err, fs.ErrNotExist):
			return 0, err
		}
	}
	return n, nil
}

// reserveSpace holds the disk space of the result and of the checkpoints, so that a disk
// that is too full is an error now and not after hours.
func (f *tuning) reserveSpace() (err error) {
	if f.RunDir != "" {
		there, err := f.checkpoints()
		if err == nil {
			err = f.session.ReserveSpace(there)
		}
		if err != nil {
			return fmt.Errorf("the checkpoints would not fit: %w", err)
		}
	}
	size := int64(1 << 16) // the header
	result := f.decoder.Snapshot
	if f.adapter != nil {
		result = f.adapter.Model
	}
	for _, t := range result().Tensors() {
		size += t.Size()
	}
	if f.held, err = atomicfile.Reserve(f.output(), size); err != nil {
		return fmt.Errorf("the result would not fit: %w", err)
	}
	return nil
}

// record writes an event to metrics.jsonl. A record that cannot be written is no reason
// to stop learning: it is said once, and what is missing is counted.
func (f *tuning) record(e run.Event) {
	if f.metrics == nil {
		return
	}
	if err := f.metrics.Write(e); err != nil {
		if f.report.Unrecorded == 0 {
			f.note("warning: %v; training goes on, and the record may have gaps", err)
		}
		f.report.Unrecorded++
	}
}
