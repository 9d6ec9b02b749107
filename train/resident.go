package train

import ()

// limitResident lets the run read the base part by part where not all of it fits
// in memory beside what the plan takes.
func (f *tuning) limitResident() {
	f.decoder.LimitMapped(0)
	m := f.report.Plan.Memory
	most := f.budget.ForFiles()
	if most == 0 || m.MappedBase == 0 || m.Total+m.MappedBase <= most {
		return
	}
	f.load.Mapped = max(most-m.Total, f.decoder.LargestBlock())
	f.report.MappedLimit = f.load.Mapped
	f.decoder.LimitMapped(f.load.Mapped)
}

// copies is how much of a run's memory a GGUF file as base would not take. The
// embedded base is one already.
func (f *tuning) copies(copied int64) int64 {
	if f.Model == "" && f.Base == nil {
		return 0
	}
	return copied
}
