package dataset

import "math/rand/v2"

// streamRepeat is the stream of the seed that [Repeated] draws from; epochs do not come so far.
const streamRepeat uint64 = 1<<63 + 1

// Repeated gives the examples of an epoch: each as often as its Repeat says, copies beside
// each other. What Repeat has beyond whole numbers is drawn by seed, for all examples of a
// record together. It is what is done last before rows are made: what is held out is seen
// once. The copies share their tokens.
func Repeated(examples []Example, seed uint64) []Example {
	weighted := false
	for i := range examples {
		weighted = weighted || examples[i].Repeat != 0
	}
	if !weighted {
		return examples
	}
	pcg := rand.NewPCG(seed, streamRepeat)
	var out []Example
	var record int32
	var draw float64
	for _, e := range examples {
		if e.Record == 0 || e.Record != record {
			draw = float64(below(pcg, 1<<32)) / (1 << 32)
		}
		record = e.Record
		times := 1.0
		if e.Repeat != 0 {
			times = float64(e.Repeat)
		}
		for ; times > draw; times-- {
			out = append(out, e)
		}
	}
	return out
}
