package train

import (
	"fmt"
	"slices"

	"qtool/internal/dataset"
	"qtool/internal/loop"
	"qtool/internal/printable"
)

// warn tells a user a reason why the run may not do what it is for, and keeps it for the
// report. It is told once.
func (f *tuning) warn(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if slices.Contains(f.report.Warnings, text) {
		return
	}
	f.report.Warnings = append(f.report.Warnings, text)
	f.note("warning: %s", text)
}

const (
	fewSteps  = loop.EnoughSteps / 2 // too few to learn much
	fewTokens = 100                  // to be learned: too few to learn more than themselves
)

// warnOfShortRun warns of a run that is too short to learn, or has too little to learn from.
func (f *tuning) warnOfShortRun() {
	plan := &f.report.Plan
	if plan.EpochScored < fewTokens {
		f.warn("the data have only %s to learn, which a run can only learn by heart; give more data", printable.Count(plan.EpochScored, "token"))
	}
	if plan.Steps < fewSteps {
		f.warn("too few optimizer steps to learn much: %d, where %d or more are usual; %s", plan.Steps, loop.EnoughSteps, f.moreSteps())
	}
	warmup := loop.WarmupSteps(f.Config.Warmup, plan.Steps)
	if f.Config.Warmup > 0.1 && 2*warmup >= plan.Steps {
		f.warn("the warm-up takes %d of %s: the learning rate hardly comes to its peak; lower --warmup", warmup, printable.Count(plan.Steps, "step"))
	}
}

// moreSteps says how the run gets as many steps as are needed for a little.
func (f *tuning) moreSteps() string {
	plan := &f.report.Plan
	switch {
	case f.Config.Steps > 0:
		return fmt.Sprintf("--steps %d takes more", loop.EnoughSteps)
	case plan.RowsPerStep > 1 && plan.Steps*plan.RowsPerStep >= fewSteps:
		return fmt.Sprintf("--batch 1 --grad-accum 1 makes %d", plan.TrainRows*f.Config.Epochs)
	case f.packed():
		return "--no-packing makes more of the same data"
	}
	epochs := (loop.EnoughSteps*plan.RowsPerStep + plan.TrainRows - 1) / plan.TrainRows
	return fmt.Sprintf("give more data, or go through these more often with --epochs %d", epochs)
}

// packed reports whether some row has several examples.
func (f *tuning) packed() bool {
	return slices.ContainsFunc(f.rows, func(r dataset.Row) bool { return len(r.Docs) > 1 })
}
