package sensitivity

import (
	"qtool/internal/arch"
	"qtool/internal/kernel/product"
	"qtool/internal/model"
	"qtool/internal/nn"
)

// Memory is what [Measure] takes beside what the program holds, in bytes.
type Memory struct {
	Activations, Scratch int64 // as those of training
	Pairs                int64 // without effect, and their gradients
	Results              int64 // the energies and what is made of them

	Rehearsal int64 // address space that finding out took
	AtLeast   bool  // it is more: finding out was given up
}

// Total is the sum.
func (m *Memory) Total() int64 { return m.Activations + m.Scratch + m.Pairs + m.Results }

// PlanMemory finds out what Measure takes on a text of so many tokens, without computing.
// Before that takes more than most bytes of address space it is given up; 0 is no limit.
func PlanMemory(d *model.Decoder, tokens int, pool *product.Pool, opt Options, most int64) (Memory, error) {
	n, _, err := opt.windows(tokens, d.Context)
	if err != nil {
		return Memory{}, err
	}
	var m Memory
	var blanks nn.Blanks
	for _, t := range probed(d) {
		e := extentsOf(t)
		m.Pairs += 2 * 4 * (elements(e.shapeA) + elements(e.shapeB))
		m.Results += (8 + 4) * int64(e.out+e.in) * int64(e.experts)
		role := arch.ShortName(t.Tensor)
		t.Linear.Pair = &nn.LoRAPair{A: blanks.Param(t.Tensor, role+".a", e.shapeA...), B: blanks.Param(t.Tensor, role+".b", e.shapeB...), Rank: probeRank, Scale: 1}
		defer func() { t.Linear.Pair = nil }()
	}
	m.Results += (8 + 4) * int64(d.Vocabulary+d.Embedding)
	tape := nn.NewTape(pool)
	ids := make([]int32, n)
	_, whole := tape.RehearseWithin(most, func() {
		tape.Reset(true)
		hidden := d.Hidden(tape, model.NewBatch(ids, []int{0}), nil, true)
		tape.Scoped(func() {
			rows := min(headRows, hidden.Rows)
			d.Logits(tape, nn.Constant(hidden.Data[:rows*hidden.Cols], rows, hidden.Cols))
		})
		d.Loss(tape, hidden, nn.Targets{IDs: ids}, 1)
		tape.Backward()
	})
	m.Activations, m.Scratch, m.Rehearsal, m.AtLeast = tape.PeakBytes(), tape.ScratchBytes(), tape.RehearsalBytes(), !whole
	return m, nil
}

func elements(shape []int) int64 {
	n := int64(1)
	for _, extent := range shape {
		n *= int64(extent)
	}
	return n
}
