package dataset

import "slices"

// streamSample is the stream of the seed that [Sample] draws from; epochs do not come so far.
const streamSample uint64 = 1 << 63

// Sample draws examples of about so many tokens (positions), at least one; 0 is all. How many
// are drawn follows from their mean length alone, so that each is as likely as any other,
// long or short. They keep their order. The result depends on nothing but the arguments.
func Sample(examples []Example, tokens int, seed uint64) []Example {
	total := 0
	for i := range examples {
		total += examples[i].Len()
	}
	if tokens <= 0 || total <= tokens {
		return examples
	}
	n := max(1, int(float64(tokens)/float64(total)*float64(len(examples))))
	drawn := permutation(len(examples), seed, streamSample)[:n]
	slices.Sort(drawn)
	sample := make([]Example, n)
	for i, at := range drawn {
		sample[i] = examples[at]
	}
	return sample
}
