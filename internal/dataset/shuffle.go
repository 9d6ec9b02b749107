package dataset

import (
	"math/bits"
	"math/rand/v2"
)

// permutation is a pure function of its arguments, the same on every platform
// and with every version of Go: Fisher-Yates from the end over PCG(seed, stream),
// each bounded number by the multiply-high rule with rejection.
func permutation(n int, seed, stream uint64) []int {
	p := make([]int, n)
	permute(p, seed, stream)
	return p
}

// permute is permutation in memory that is there.
func permute(p []int, seed, stream uint64) {
	pcg := rand.NewPCG(seed, stream)
	for i := range p {
		p[i] = i
	}
	for i := len(p) - 1; i > 0; i-- {
		j := below(pcg, uint64(i+1))
		p[i], p[j] = p[j], p[i]
	}
}

// below is uniform over 0 to n-1.
func below(pcg *rand.PCG, n uint64) uint64 {
	for {
		high, low := bits.Mul64(pcg.Uint64(), n)
		if low >= -n%n {
			return high
		}
	}
}

// Streams of the seed, one for each use; epochs count up from streamEpoch.
const (
	streamSplit uint64 = iota
	streamPack
	streamEpoch
)

// streamBatches is what the streams that shuffle the batches of epochs count up from;
// epochs do not come so far.
const streamBatches uint64 = 1 << 62
