package nn

// NotScored is the target of a row that takes no part in the loss.
const NotScored = -100

// Targets say what the rows of hidden states should predict.
type Targets struct {
	IDs     []int32   // of each row, [NotScored] where none counts
	Weights []float32 // of each row's loss, positive where it counts; nil is 1 for all
	// Smoothing is how much of the target's probability is spread over all tokens, from 0 to
	// below 1: the loss of a row is (1-Smoothing)·CE(target) + Smoothing·mean of CE over the
	// vocabulary, as with PyTorch's label_smoothing.
	Smoothing float32
}

// scored counts the rows that count, and sums up their weights.
func (g *Targets) scored() (rows int, weight float64) {
	for r, id := range g.IDs {
		if id != NotScored {
			rows++
			weight += float64(g.weight(r))
		}
	}
	return rows, weight
}

func (g *Targets) weight(row int) float32 {
	if g.Weights == nil {
		return 1
	}
	return g.Weights[row]
}
