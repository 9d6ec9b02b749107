package train

import (
	"context"
	"os"
	"slices"

	"qtool/internal/atomicfile"
	"qtool/internal/loop"
	"qtool/internal/outputs"
	"qtool/internal/records"
	"qtool/internal/source"
	"qtool/internal/usage"
)

// checkFiles finds out before the base is read what would else fail after hours: whether
// the result and the files of the run directory can be written and are no other file, and
// whether data and adapter can be read.
func (f *tuning) checkFiles(context.Context) (err error) {
	var data []string
	if len(f.Data) > 0 {
		if err = f.findData(); err != nil {
			return err
		}
		data = f.set.Paths()
	}
	if f.RunDir != "" {
		if err := f.checkRunDir(append([]string{f.Init}, data...)); err != nil {
			return err
		}
	}
	if err := outputs.Check(slices.Concat(source.Paths(f.Model), []string{f.Init}, data), f.output()); err != nil {
		return err
	}
	if f.set != nil {
		if err := f.set.Check(); err != nil {
			return err
		}
	}
	return f.openInit()
}

// findData lists the files of the data, once.
func (f *tuning) findData() error {
	if f.set != nil {
		return nil
	}
	var sources []records.Source
	for _, data := range f.Data {
		source, err := records.ParseSource(data)
		if err != nil {
			return err
		}
		sources = append(sources, source)
	}
	set, err := records.Find(sources)
	if err != nil {
		return err
	}
	for _, n := range set.Notes {
		f.note("%s", n)
	}
	f.set = set
	return nil
}

// checkRunDir refuses a run directory that cannot be written to, or whose files are also
// inputs or the result.
func (f *tuning) checkRunDir(inputs []string) error {
	files := []string{f.checkpoint(), loop.PreviousCheckpoint(f.checkpoint()), f.metricsPath(), f.lockPath()}
	for _, file := range files {
		if outputs.SameFile(f.output(), file) {
			return usage.Errorf("%s is a file of --run-dir; choose another name for the result", f.output())
		}
	}
	if err := outputs.Distinct(inputs, files...); err != nil {
		return err
	}
	if _, err := os.Stat(f.RunDir); err != nil {
		return atomicfile.CheckMkdirAll(f.RunDir)
	}
	return outputs.Writable(f.checkpoint())
}
