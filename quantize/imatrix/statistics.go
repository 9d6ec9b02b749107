package imatrix

import (
	"cmp"
	"math"
	"slices"
	"strings"

	"qtool/internal/arch"
)

// inactive is the mean square up to which a column counts as not active.
const inactive = 1e-5

// Statistics describes the mean squares of one entry's columns, as llama-imatrix
// --show-statistics does. Matrices that nothing was counted for are left out.
type Statistics struct {
	Name  string
	Kind  string // the weight's name without layer and ".weight", such as "attn_q"
	Layer int    // -1 outside the layers

	Columns        int // of all matrices
	Sum, Mean      float64
	Min, Max       float64
	Deviation      float64 // standard deviation
	Active         float64 // share of columns above 1e-5
	Entropy        float64 // of the columns' shares in the sum, in bits
	Evenness       float64 // Entropy in relation to that of equal columns, 0 to 1
	Outstanding    float64 // share of columns more than a standard deviation above the mean
	HasPrevious    bool    // whether the layer before has such an entry
	Cosine         float64 // likeness to that
	Matrices       int     // in the stack, as far as they are counted apart
	Unused         []int   // those that nothing was counted for
	ShareOfAllSums float64 // this Sum in relation to that of all entries
}

// LayerStatistics are means over the entries of a layer, weighed by their columns.
type LayerStatistics struct {
	Layer                    int
	Sum, Outstanding, Cosine float64
}

// Statistics describes all entries: those of one kind together, the largest sum first.
func (m *Matrix) Statistics() []Statistics {
	var all []Statistics
	total := 0.0
	for _, e := range m.Entries() {
		s := e.statistics()
		if previous, ok := m.entries[e.inLayer(s.Layer-1)]; ok && s.Layer > 0 && len(previous.Sums) == len(e.Sums) {
			s.HasPrevious, s.Cosine = true, cosine(e.Sums, previous.Sums)
		}
		total += s.Sum
		all = append(all, s)
	}
	for i := range all {
		if total > 0 {
			all[i].ShareOfAllSums = all[i].Sum / total
		}
	}
	slices.SortStableFunc(all, func(a, b Statistics) int {
		return cmp.Or(strings.Compare(a.Kind, b.Kind), cmp.Compare(b.Sum, a.Sum), cmp.Compare(a.Layer, b.Layer))
	})
	return all
}

// ByLayer averages statistics layer by layer.
func ByLayer(all []Statistics) []LayerStatistics {
	columns := map[int]float64{}
	sums := map[int]*LayerStatistics{}
	for _, s := range all {
		if s.Layer < 0 || s.Columns == 0 {
			continue
		}
		l := sums[s.Layer]
		if l == nil {
			l = &LayerStatistics{Layer: s.Layer}
			sums[s.Layer] = l
		}
		n := float64(s.Columns)
		columns[s.Layer] += n
		l.Sum += n * s.Sum
		l.Outstanding += n * s.Outstanding
		l.Cosine += n * s.Cosine
	}
	var layers []LayerStatistics
	for layer, l := range sums {
		n := columns[layer]
		layers = append(layers, LayerStatistics{layer, l.Sum / n, l.Outstanding / n, l.Cosine / n})
	}
	slices.SortFunc(layers, func(a, b LayerStatistics) int { return cmp.Compare(a.Layer, b.Layer) })
	return layers
}

func (e *Entry) statistics() Statistics {
	s := Statistics{Name: e.Name, Matrices: len(e.Counts), Unused: e.Unused()}
	s.Kind, s.Layer = place(e.Name)
	means := e.means()
	if s.Columns = len(means); s.Columns == 0 {
		return s
	}
	n := float64(len(means))
	s.Min, s.Max = slices.Min(means), slices.Max(means)
	squares := 0.0
	for _, v := range means {
		s.Sum += v
		squares += v * v
		if v > inactive {
			s.Active += 1 / n
		}
	}
	s.Mean = s.Sum / n
	s.Deviation = math.Sqrt(max(0, squares/n-s.Mean*s.Mean))
	for _, v := range means {
		if p := v / s.Sum; p > 0 {
			s.Entropy -= p * math.Log2(p)
		}
		if s.Deviation > 0 && v-s.Mean > s.Deviation {
			s.Outstanding += 1 / n
		}
	}
	if len(means) > 1 {
		s.Evenness = s.Entropy / math.Log2(n)
	}
	return s
}

// means are the mean squares of the columns that something was counted for.
func (e *Entry) means() []float64 {
	var means []float64
	n := e.row()
	for i, s := range e.Sums {
		if count := e.Counts[i/n]; count > 0 {
			means = append(means, float64(s)/float64(count))
		}
	}
	return means
}

// place takes a weight's name apart: kind and layer of "blk.3.attn_q.weight" are
// "attn_q" and 3.
func place(name string) (kind string, layer int) {
	return arch.ShortName(name), arch.LayerOf(name)
}

// inLayer is the name of the same weight in another layer.
func (e *Entry) inLayer(layer int) string {
	_, name, _ := arch.SplitLayer(e.Name)
	return arch.InLayer(layer, name)
}

func cosine(a, b []float32) float64 {
	var ab, aa, bb float64
	for i, x := range a {
		x, y := float64(x), float64(b[i])
		ab += x * y
		aa += x * x
		bb += y * y
	}
	if aa == 0 || bb == 0 {
		return 0
	}
	return ab / math.Sqrt(aa) / math.Sqrt(bb)
}
