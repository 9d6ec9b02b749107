package main

import (
	"context"
	"os"

	"qtool/internal/atomicfile"
	"qtool/internal/dataset"
	"qtool/internal/loop"
)

// checkFiles finds out before the base is read what would else fail after hours: whether
// the result and the files of the run directory can be written and are no other file, and
// whether data and adapter can be read.
func (f *finetuning) checkFiles(context.Context) (err error) {
	var data []string
	if f.data != "" {
		if data, err = dataset.Files(f.data); err != nil {
			return err
		}
	}
	if f.runDir != "" {
		if err := f.checkRunDir(append([]string{f.init}, data...)); err != nil {
			return err
		}
	}
	if err := checkOutputs(append([]string{f.model, f.init}, data...), f.output()); err != nil {
		return err
	}
	if err := dataset.Check(data); err != nil {
		return err
	}
	return f.openInit()
}

// checkRunDir refuses a run directory that cannot be written to, or whose files are also
// inputs or the result.
func (f *finetuning) checkRunDir(inputs []string) error {
	files := []string{f.checkpoint(), loop.PreviousCheckpoint(f.checkpoint()), f.metricsPath(), f.lockPath()}
	result := placeOf(f.output())
	for _, file := range files {
		if result.same(placeOf(file)) {
			return usagef("finetune: %s is a file of --run-dir; choose another name for the result", f.output())
		}
	}
	if err := checkDistinct(inputs, files...); err != nil {
		return err
	}
	if _, err := os.Stat(f.runDir); err != nil {
		return atomicfile.CheckMkdirAll(f.runDir)
	}
	return checkWritable(f.checkpoint())
}
