package dataset

import (
	"hash/maphash"
	"slices"

	"qtool/internal/splitmix"
)

// Duplicates are examples that say again what an earlier one says.
type Duplicates struct {
	Exact int // examples with the tokens of an earlier one
	Near  int // others, that share most of their text with an earlier one
	// First are the first few of both, in order.
	First []Duplicate
}

// Duplicate is one example that repeats another.
type Duplicate struct {
	Index, Of int  // indices of examples; Of is the smaller one
	Exact     bool // all tokens are the same
}

const (
	// nearShare is the share of common runs of tokens, of all runs that two examples
	// have, from which on they are near duplicates.
	nearShare = 0.8
	// runTokens is the length of the runs of tokens that are compared.
	runTokens = 4
	// firstDuplicates is how many are named.
	firstDuplicates = 5
)

// FindDuplicates finds examples that repeat an earlier one exactly, and ones that share at
// least four fifths of their runs of four tokens with one (their Jaccard index). Near ones
// are found by MinHash with one permutation (Li, Owen, Zhang, "One Permutation Hashing",
// 2012; empty bins filled as in Shrivastava and Li, "Densifying One Permutation Hashing",
// 2014) and then compared, so that what is counted is true; of a hundred that share four
// fifths one or two may be missed. It takes about half a kilobyte for each example.
func FindDuplicates(examples []Example) Duplicates {
	var d Duplicates
	seed := maphash.MakeSeed()
	exact := map[uint64]int{} // hash of the tokens -> the first example with it
	near := nearIndex{examples: examples}
	for i := range examples {
		tokens := examples[i].Tokens()
		hash := hashTokens(seed, tokens)
		if first, ok := exact[hash]; ok && slices.Equal(examples[first].Tokens(), tokens) {
			d.Exact++
			d.name(Duplicate{i, first, true})
			continue
		}
		exact[hash] = i
		if of, ok := near.add(i); ok {
			d.Near++
			d.name(Duplicate{i, of, false})
		}
	}
	return d
}

func (d *Duplicates) name(one Duplicate) {
	if len(d.First) < firstDuplicates {
		d.First = append(d.First, one)
	}
}

// A signature has bins of hashes of runs, and is looked up by bands of some of them: with
// eight bands of four, two examples that share four fifths agree in one with probability
// 0.985.
const (
	bins     = 32
	bandBins = 4
	bands    = bins / bandBins
)

type signature [bins]uint32

// nearIndex finds earlier examples that are like a new one.
type nearIndex struct {
	examples []Example
	bands    [bands]map[[bandBins]uint32][]int32
}

// mostCompared is how many examples of one band are compared: those of a template that
// all share would be compared with all others.
const mostCompared = 8

// add puts example i into the index and returns an earlier one that it is like.
func (x *nearIndex) add(i int) (of int, ok bool) {
	runs := runsOf(x.examples[i].Tokens())
	if len(runs) == 0 {
		return 0, false
	}
	s := signatureOf(runs)
	compared := map[int32]bool{}
	for b := range bands {
		band := [bandBins]uint32(s[b*bandBins:])
		for _, other := range x.bands[b][band] {
			if !ok && !compared[other] && share(runs, runsOf(x.examples[other].Tokens())) >= nearShare {
				of, ok = int(other), true
			}
			compared[other] = true
		}
		if x.bands[b] == nil {
			x.bands[b] = map[[bandBins]uint32][]int32{}
		}
		if members := x.bands[b][band]; len(members) < mostCompared {
			x.bands[b][band] = append(members, int32(i))
		}
	}
	return of, ok
}

// runsOf are the hashes of all runs of runTokens tokens, each once, ascending. Fewer
// tokens have none: they are equal or not.
func runsOf(tokens []int32) []uint64 {
	if len(tokens) < runTokens {
		return nil
	}
	runs := make([]uint64, 0, len(tokens)-runTokens+1)
	for at := range len(tokens) - runTokens + 1 {
		h := uint64(0)
		for _, t := range tokens[at : at+runTokens] {
			h = splitmix.Mix(h + uint64(uint32(t)) + 1)
		}
		runs = append(runs, h)
	}
	slices.Sort(runs)
	return slices.Compact(runs)
}

// signatureOf takes the least hash of every bin. An empty bin takes that of the next one
// that is not, and how far away it was.
func signatureOf(runs []uint64) (s signature) {
	var filled [bins]bool
	for _, h := range runs {
		bin, value := h>>(64-5), uint32(h>>16)
		if !filled[bin] || value < s[bin] {
			s[bin], filled[bin] = value, true
		}
	}
	dense := s
	for bin := range s {
		for away := 0; ; away++ {
			if from := (bin + away) % bins; filled[from] {
				dense[bin] = s[from] + uint32(away)*0x9e3779b1
				break
			}
		}
	}
	return dense
}

// share is the number of runs that both have, of all that one of them has.
func share(a, b []uint64) float64 {
	both := 0
	for i, j := 0, 0; i < len(a) && j < len(b); {
		switch {
		case a[i] == b[j]:
			both, i, j = both+1, i+1, j+1
		case a[i] < b[j]:
			i++
		default:
			j++
		}
	}
	return float64(both) / float64(len(a)+len(b)-both)
}
