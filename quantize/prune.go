package quantize

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"qtool/gguf"
	"qtool/internal/arch"
)

// ErrNoLayer is in the chain of the error about layers to prune that are not there, or
// that are all there are.
var ErrNoLayer = errors.New("no such layer")

// pruned is a model without some of its layers, the others numbered anew.
type pruned struct {
	gguf.Model
	sourceNames map[string]string // by name in the pruned model
	remarks     []string
}

var layerInName = regexp.MustCompile(`blk\.(\d+)\.`)

// prune leaves the given layers out of m.
func prune(m gguf.Model, layers []int) (*pruned, error) {
	md := m.Metadata().Clone()
	name, err := arch.Name(m)
	if err != nil {
		return nil, fmt.Errorf("pruning layers: %w", err)
	}
	key := name + "." + arch.KeyBlockCount
	count, err := arch.CountsOf(m, name).Int(arch.KeyBlockCount, 0)
	if err != nil {
		return nil, fmt.Errorf("pruning layers: %w", err)
	}
	kept, err := keptLayers(layers, count)
	if err != nil {
		return nil, err
	}
	p := &pruned{sourceNames: map[string]string{}}
	newNumber := make(map[int]int, len(kept))
	for i, old := range kept {
		newNumber[old] = i
	}
	var tensors []*gguf.Tensor
	for _, t := range m.Tensors() {
		name, ok := renumbered(t.Name, newNumber)
		if !ok {
			continue
		}
		again := *t
		again.Name = name
		p.sourceNames[name] = t.Name
		tensors = append(tensors, &again)
	}
	p.pruneMetadata(md, name, kept, count)
	md.Delete(key)
	md.Set(key, uint32(len(kept)))
	p.Model = gguf.Assemble(md, tensors, m)
	return p, nil
}

func keptLayers(layers []int, count int) ([]int, error) {
	for _, l := range layers {
		if l < 0 || l >= count {
			return nil, fmt.Errorf("%w: layer %d cannot be pruned from a model with layers 0 to %d", ErrNoLayer, l, count-1)
		}
	}
	var kept []int
	for l := range count {
		if !slices.Contains(layers, l) {
			kept = append(kept, l)
		}
	}
	if len(kept) == 0 {
		return nil, fmt.Errorf("%w: pruning all %d layers leaves no model", ErrNoLayer, count)
	}
	return kept, nil
}

// renumbered is the name with its layer's new number; not ok if the layer is pruned.
func renumbered(name string, newNumber map[int]int) (string, bool) {
	at := layerInName.FindStringSubmatchIndex(name)
	if at == nil {
		return name, true
	}
	old, err := strconv.Atoi(name[at[2]:at[3]])
	if err != nil {
		return name, true
	}
	n, ok := newNumber[old]
	return name[:at[2]] + strconv.Itoa(n) + name[at[3]:], ok
}

// Keys of an architecture that count layers from the first or from the last one.
var (
	countFromFirst = []string{arch.KeyLeadingDenseBlockCount, "hash_layer_count", "decoder_block_count"}
	countFromLast  = []string{arch.KeyNextNPredictLayers, arch.KeyAttentionSharedKVLayers}
)

// notPerLayer are arrays of an architecture that only happen to be as long as it has
// layers.
var notPerLayer = []string{arch.KeyRopeDimensionSections, "classifier.output_labels", "target_layers"}

// periods are keys that say that every n-th layer is of another kind.
var periods = []string{
	arch.KeyAttentionSlidingWindowPattern, "full_attention_interval", "interleave_moe_layer_step", "moe_every_n_layers",
}

// builtInPeriods are those of architectures whose files need not say so, of those that have
// no row in [arch].
var builtInPeriods = map[string]int{
	"afmoe": 4, "cohere2": 4, "cohere2moe": 4, "exaone-moe": 4, "exaone4": 4, "gemma-embedding": 6,
	"gemma3n": 5, "laguna": 4, "llama4": 4, "mellum": 4, "modern-bert": 3, "plamo3": 8, "smallthinker": 4,
}

// builtInPeriod is the period of an architecture whose files need not say it; 0: there is none.
func builtInPeriod(name string) int {
	if row := arch.Find(name); row != nil {
		return row.Period
	}
	return builtInPeriods[name]
}

// pruneMetadata makes what md says of layers true of the kept ones.
func (p *pruned) pruneMetadata(md *gguf.Metadata, name string, kept []int, count int) {
	nextn, _ := md.Int(name + "." + arch.KeyNextNPredictLayers)
	for _, kv := range md.All() {
		key, ok := strings.CutPrefix(kv.Key, name+".")
		if v := reflect.ValueOf(kv.Value); ok && v.Kind() == reflect.Slice && !slices.Contains(notPerLayer, key) {
			// Some arrays leave out the layers that predict further tokens.
			if v.Len() == count || v.Len() == count-nextn {
				md.Set(kv.Key, elementsAt(v, kept))
			}
		}
	}
	recount := func(key string, counts func(layer, n int) bool) {
		n, err := md.Int(name + "." + key)
		if err != nil {
			return
		}
		left := 0
		for _, l := range kept {
			if counts(l, n) {
				left++
			}
		}
		old, _ := md.Get(name + "." + key)
		md.Set(name+"."+key, integerLike(old, int64(left)))
	}
	for _, key := range countFromFirst {
		recount(key, func(l, n int) bool { return l < n })
	}
	for _, key := range countFromLast {
		recount(key, func(l, n int) bool { return l >= count-n })
	}
	p.remarkPeriods(md, name, kept)
}

// elementsAt is the array v with the elements of the given layers alone.
func elementsAt(v reflect.Value, layers []int) gguf.Value {
	part := reflect.MakeSlice(v.Type(), 0, len(layers))
	for _, l := range layers {
		if l < v.Len() {
			part = reflect.Append(part, v.Index(l))
		}
	}
	return part.Interface()
}

// remarkPeriods warns if layers change their kind because it goes by their number.
func (p *pruned) remarkPeriods(md *gguf.Metadata, name string, kept []int) {
	for _, key := range periods {
		n, err := md.Int(name + "." + key)
		source := fmt.Sprintf("%q says that every %d. layer", name+"."+key, n)
		if err != nil && key == periods[0] && !md.Has(name+"."+key) {
			n = builtInPeriod(name)
			source = fmt.Sprintf("in the architecture %q every %d. layer", name, n)
		}
		if n < 2 {
			continue
		}
		for i, l := range kept {
			if i%n != l%n {
				p.remarks = append(p.remarks, fmt.Sprintf(
					"%s is of another kind, counted by number: layer %d was trained as number %d and changes its kind as number %d; prune runs of %d layers instead",
					source, l, l, i, n))
				break
			}
		}
	}
}
