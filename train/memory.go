package train

import (
	"runtime"
	"runtime/debug"

	"qtool/internal/dataset"
	"qtool/internal/model"
	"qtool/internal/nn"
)

// Memory is what a run takes at its peak, in bytes, and of what that is made. The
// base is not part of it: it is mapped, and the system may drop and read again
// what it needs room for.
type Memory struct {
	Activations int64 `json:"activations"` // results and their gradients, as many as exist at once
	Scratch     int64 `json:"scratch"`     // packed operands, and what each thread works in
	Parameters  int64 `json:"parameters"`
	Gradients   int64 `json:"gradients"`
	Moments     int64 `json:"moments"`   // of the optimizer
	LastGood    int64 `json:"last_good"` // the copy that a rollback takes
	Data        int64 `json:"data"`
	Copied      int64 `json:"copied_base"` // of the base, what is converted on loading
	Program     int64 `json:"program"`     // what else lives: vocabulary, metadata, the runtime
	Total       int64 `json:"total"`
	MappedBase  int64 `json:"mapped_base"` // not in Total
}

// PlanMemory foretells the peak from the shapes alone: it goes through the largest
// batches that will come, and the largest evaluation, without computing them. To
// be called before the first step.
func (r *Run) PlanMemory() Memory {
	live := LiveBytes()
	tape := r.learner.tape
	for _, batch := range r.largestBatches() {
		tape.Rehearse(func() { r.learner.accumulate(batch, 0) })
	}
	tape.Rehearse(func() { r.learner.loss(r.longestRow()) }) // what the guard looks at
	longest := 0
	for from := 0; from < len(r.HeldOut); from += r.Config.Batch {
		batch := r.HeldOut[from:min(from+r.Config.Batch, len(r.HeldOut))]
		if _, tokens := countScored(batch); tokens > longest {
			longest = tokens
			tape.Rehearse(func() { r.learner.loss(batch) })
		}
	}
	r.trained.clearGradients(r.Pool)
	debug.FreeOSMemory()
	var data int64
	for _, rows := range [2][]dataset.Row{r.Rows, r.HeldOut} {
		for _, row := range rows {
			data += row.Bytes()
		}
	}
	kept := r.stateBytes()
	m := memoryOf(tape, r.Decoder, r.trained.elements(), r.trained.cost, data, live-kept-data-r.Decoder.CopiedBytes())
	r.plan.Memory, r.plan.MemoryBytes = &m, m.Total
	return m
}

// longestRow is one of the rows with the most tokens.
func (r *Run) longestRow() []dataset.Row {
	longest := 0
	for i := range r.Rows {
		if r.Rows[i].Len() > r.Rows[longest].Len() {
			longest = i
		}
	}
	return r.Rows[longest : longest+1]
}

// memoryOf adds up what a run that trains some number of weights takes after a rehearsal on
// tape.
func memoryOf(tape *nn.Tape, d *model.Decoder, weights int64, each weightCost, data, program int64) Memory {
	m := Memory{
		Activations: tape.PeakBytes(), Scratch: tape.ScratchBytes(),
		Parameters: weights * each.weight, Gradients: weights * each.gradient, Moments: weights * each.states, LastGood: weights * each.lastGood,
		Data: data, Copied: d.CopiedBytes(), Program: max(0, program), MappedBase: d.MappedBytes(),
	}
	m.Total = m.Activations + m.Scratch + weights*each.memory() + data + m.Copied + m.Program
	return m
}

// LiveBytes is what the program holds of the system's memory when all garbage has
// been given back.
func LiveBytes() int64 {
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse + m.MSpanInuse + m.MCacheInuse + m.BuckHashSys + m.GCSys + m.OtherSys)
}
