package dataset

import (
	"encoding/binary"
	"hash/maphash"
	"math"
	"slices"
)

// Split holds out about fraction of the examples for evaluation: at least one if
// fraction is positive and there are two that differ. Equal examples go to the
// same side, so that nothing evaluated was trained on. The order of the examples
// is kept. The result depends on nothing but the arguments.
func Split(examples []Example, fraction float64, seed uint64) (train, eval []Example) {
	if fraction <= 0 || len(examples) < 2 {
		return examples, nil
	}
	want := max(1, int(math.Round(fraction*float64(len(examples)))))
	groups := equalExamples(examples)
	held := make([]bool, len(examples))
	n := 0
	for _, g := range permutation(len(groups), seed, streamSplit)[1:] { // one group is always left to train on
		if n >= want {
			break
		}
		if n > 0 && n+len(groups[g]) > want {
			continue
		}
		for _, i := range groups[g] {
			held[i] = true
		}
		n += len(groups[g])
	}
	for i, ex := range examples {
		if held[i] {
			eval = append(eval, ex)
		} else {
			train = append(train, ex)
		}
	}
	return train, eval
}

// equalExamples groups the indices of examples with the same tokens, in order of
// their first.
func equalExamples(examples []Example) [][]int {
	seed := maphash.MakeSeed()
	byHash := map[uint64][]int{} // to indices in groups
	var groups [][]int
next:
	for i, ex := range examples {
		h := hashTokens(seed, ex.Tokens())
		for _, g := range byHash[h] {
			if slices.Equal(examples[groups[g][0]].Tokens(), ex.Tokens()) {
				groups[g] = append(groups[g], i)
				continue next
			}
		}
		byHash[h] = append(byHash[h], len(groups))
		groups = append(groups, []int{i})
	}
	return groups
}

func hashTokens(seed maphash.Seed, tokens []int32) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	var b [4]byte
	for _, t := range tokens {
		binary.LittleEndian.PutUint32(b[:], uint32(t))
		h.Write(b[:])
	}
	return h.Sum64()
}
