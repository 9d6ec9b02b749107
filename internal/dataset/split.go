package dataset

import (
	"encoding/binary"
	"hash/maphash"
	"math"
	"slices"
)

// Split holds out about fraction of the examples for evaluation: at least one if
// fraction is positive and there are two that differ. Equal examples go to the
// same side, and so do those of one record, so that nothing evaluated was trained on. The
// order of the examples is kept. The result depends on nothing but the arguments.
func Split(examples []Example, fraction float64, seed uint64) (train, eval []Example) {
	if fraction <= 0 || len(examples) < 2 {
		return examples, nil
	}
	want := max(1, int(math.Round(fraction*float64(len(examples)))))
	groups := inseparable(examples)
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

// inseparable groups the indices of examples that must be on the same side, in order of
// their first: those with the same tokens, and those of one record.
func inseparable(examples []Example) [][]int {
	seed := maphash.MakeSeed()
	byHash := map[uint64][]int{} // the first examples that have the hash
	byRecord := map[int32]int{}  // the first example of a record
	u := make(union, len(examples))
	for i := range examples {
		u[i] = i
		h := hashTokens(seed, examples[i].Tokens())
		same := slices.IndexFunc(byHash[h], func(j int) bool { return slices.Equal(examples[j].Tokens(), examples[i].Tokens()) })
		if same >= 0 {
			u.join(byHash[h][same], i)
		} else {
			byHash[h] = append(byHash[h], i)
		}
		if record := examples[i].Record; record > 0 {
			if first, seen := byRecord[record]; seen {
				u.join(first, i)
			} else {
				byRecord[record] = i
			}
		}
	}
	at := map[int]int{} // where the group of a root is
	var groups [][]int
	for i := range examples {
		root := u.root(i)
		g, there := at[root]
		if !there {
			g = len(groups)
			at[root], groups = g, append(groups, nil)
		}
		groups[g] = append(groups[g], i)
	}
	return groups
}

// union has for each element one of the same group before it, or itself.
type union []int

func (u union) root(i int) int {
	for u[i] != i {
		u[i] = u[u[i]]
		i = u[i]
	}
	return i
}

func (u union) join(a, b int) {
	a, b = u.root(a), u.root(b)
	u[max(a, b)] = min(a, b)
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
