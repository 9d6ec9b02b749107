package main

import (
	"fmt"

	"qtool/train"
)

// limitResident lets the run read the base part by part where not all of it fits
// in memory beside what the plan takes.
func (f *finetuning) limitResident() error {
	f.decoder.LimitMapped(0)
	m := f.report.Plan.Memory
	if m.MappedBase == 0 {
		if f.maxResident > 0 && m.Total > f.maxResident {
			return usagef("finetune: --max-resident %s: the run takes %s%s", formatBytes(f.maxResident), formatBytes(m.Total), f.ofCopies(m))
		}
		return nil
	}
	most, largest := f.maxResident, f.decoder.LargestPart()
	if most == 0 {
		most = availableMemory()
	}
	if most == 0 || m.Total+m.MappedBase <= most {
		return nil
	}
	if f.maxResident > 0 && m.Total+largest > most {
		return usagef("finetune: --max-resident %s: the run takes %s, and %s of the base at once, %s together%s; a smaller --seq or --batch, or --checkpointing, takes less",
			formatBytes(most), formatBytes(m.Total), formatBytes(largest), formatBytes(m.Total+largest), f.ofCopies(m))
	}
	f.load.Mapped = max(most-m.Total, largest)
	f.report.MappedLimit = f.load.Mapped
	f.decoder.LimitMapped(f.load.Mapped)
	return nil
}

// copies is how much of a run's memory a GGUF file as base would not take. The
// embedded base is one already.
func (f *finetuning) copies(m *train.Memory) int64 {
	if f.model == "" {
		return 0
	}
	return m.Copied
}

// ofCopies tells of copies in an error.
func (f *finetuning) ofCopies(m *train.Memory) string {
	n := f.copies(m)
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("; %s of that are weights that are converted on loading, which it would read where they lie from the GGUF file that quantize writes", formatBytes(n))
}
