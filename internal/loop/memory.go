package loop

import (
	"runtime/debug"

	"qtool/internal/dataset"
	"qtool/internal/memory"
	"qtool/internal/model"
	"qtool/internal/nn"
)

// PlanMemory predicts what a run of s takes at its peak, before anything is made for it:
// of s.Params only the shapes count, so that [nn.Blanks] will do. program is what the
// program takes besides, data included. Before a rehearsal takes more than most bytes of address space
// it is given up; 0 is no limit.
func PlanMemory(s Setup, program, most int64) (Memory, error) {
	r, err := newRun(s)
	if err != nil {
		return Memory{}, err
	}
	whole := r.rehearse(most)
	var weights int64
	for _, p := range s.Params {
		weights += elements(p)
	}
	data := r.dataBytes()
	m := memoryOf(r.learner.tape, s.Decoder, weights, weightCostOf(&r.Config), data, program-data)
	m.AtLeast = !whole
	return m, nil
}

// PlanMemory predicts the peak from the shapes alone: it goes through the largest
// batches that will come, and the largest evaluation, without computing them. To
// be called before the first step.
func (r *Run) PlanMemory() Memory {
	live := memory.Held()
	r.rehearse(0)
	r.trained.clearGradients(r.Pool)
	debug.FreeOSMemory()
	kept, data := r.stateBytes(), r.dataBytes()
	m := memoryOf(r.learner.tape, r.Decoder, r.trained.elements(), r.trained.cost, data, live-kept-data-r.Decoder.CopiedBytes())
	r.plan.Memory, r.plan.MemoryBytes = &m, m.Total
	return m
}

// rehearse goes through the largest batches and the largest evaluation without computing
// them, unless that takes more than most bytes; 0 is no limit.
func (r *Run) rehearse(most int64) (whole bool) {
	whole = true
	pass := func(f func()) {
		if whole {
			_, whole = r.learner.tape.RehearseWithin(most, f)
		}
	}
	for _, batch := range r.largestBatches() {
		pass(func() { r.learner.accumulate(batch, 0) })
	}
	pass(func() { r.learner.loss(r.longestRow()) }) // what the guard looks at
	longest := 0
	for from := 0; from < len(r.HeldOut); from += r.Config.Batch {
		batch := r.HeldOut[from:min(from+r.Config.Batch, len(r.HeldOut))]
		if _, tokens := countScored(batch); tokens > longest {
			longest = tokens
			pass(func() { r.learner.loss(batch) })
		}
	}
	return whole
}

// dataBytes is the memory of all rows.
func (r *Run) dataBytes() (n int64) {
	for _, rows := range [2][]dataset.Row{r.Rows, r.HeldOut} {
		for _, row := range rows {
			n += row.Bytes()
		}
	}
	return n
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
		Rehearsal: tape.RehearsalBytes(),
	}
	m.AddUp()
	return m
}
