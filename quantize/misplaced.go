package quantize

import (
	"fmt"
	"sync/atomic"

	"qtool/internal/printable"
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

// MisplacedBlocks is how many blocks of which tensors hold weights in wrong places, because that
// is what llama-quantize does. It is known once the model of the plan was written.
func (p *Plan) MisplacedBlocks() map[string]int64 {
	found := map[string]int64{}
	for name, m := range p.misplaced {
		if n := m.blocks.Load(); n > 0 {
			found[name] = n
		}
	}
	return found
}

// Misplaced tells about MisplacedBlocks: a line for each tensor, after one that explains them.
func (p *Plan) Misplaced() (lines []string) {
	found := p.MisplacedBlocks()
	for _, t := range p.Tensors {
		if n := found[t.Name]; n > 0 {
			lines = append(lines, fmt.Sprintf("%s: %d of %d blocks of 256", printable.Text(t.Name), n, t.ToBytes/int64(t.To.BlockBytes())))
		}
	}
	if lines == nil {
		return nil
	}
	return append([]string{"warning: IQ3_S, as llama-quantize encodes it, and as it is stored here for the same bytes, keeps no place for 32 zeros in a row: " +
		"where some precede other weights of a block, these are read in wrong places. Give the tensors another type, as in --tensor-type 'NAME=Q3_K':"}, lines...)
}
