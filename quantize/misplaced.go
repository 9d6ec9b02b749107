package quantize

import (
	"fmt"
	"sync/atomic"
)

// misplacement counts the blocks in which encodeIQ3_S, as ggml, stores weights where those
// of other places are read: with a group of zeros before one that is not.
type misplacement struct{ blocks atomic.Int64 }

// count looks at values, whole blocks. It may be called by many goroutines, and does nothing
// if m is nil.
func (m *misplacement) count(values []float32) {
	if m == nil {
		return
	}
	for ; len(values) >= 256; values = values[256:] {
		zero := false
		for g := 0; g < 256; g += 32 {
			if allZeros(values[g : g+32]) {
				zero = true
			} else if zero {
				m.blocks.Add(1)
				break
			}
		}
	}
}

func allZeros(values []float32) bool {
	for _, v := range values {
		if v != 0 {
			return false
		}
	}
	return true
}

// Misplaced tells, once the model of the plan was written, what its file holds in wrong
// places because that is what llama-quantize does: a line for each tensor, after one
// that explains them.
func (p *Plan) Misplaced() (lines []string) {
	for i := range p.Tensors {
		t := &p.Tensors[i]
		if n := t.MisplacedBlocks(); n > 0 {
			lines = append(lines, fmt.Sprintf("%s: %d of %d blocks of 256", t.Name, n, t.ToBytes/int64(t.To.BlockBytes())))
		}
	}
	if lines == nil {
		return nil
	}
	return append([]string{"warning: IQ3_S, as llama-quantize encodes it, and as it is stored here for the same bytes, keeps no place for 32 zeros in a row: " +
		"where some precede other weights of a block, these are read in wrong places. Give the tensors another type, as in --tensor-type 'NAME=Q3_K':"}, lines...)
}

// MisplacedBlocks is the number of blocks that hold weights in wrong places: see [Plan.Misplaced].
func (t *PlannedTensor) MisplacedBlocks() int64 {
	if t.misplaced == nil {
		return 0
	}
	return t.misplaced.blocks.Load()
}
