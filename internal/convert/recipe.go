package convert

import (
	"fmt"
	"slices"
	"strings"

	"qtool/internal/arch"
	"qtool/safetensors"
)

// recipe says from which Hugging Face tensors one GGUF tensor is made.
type recipe struct {
	name     string   // in GGUF
	shape    []int    // in GGUF, row length first
	sources  []string // in the folder; several are stacked along a new last axis
	instead  string   // read if the one source is not there; "" for none
	optional bool     // left out if its source is not there
	// heads, if not 0, is the number of attention heads whose rows change from
	// rotating halves to rotating neighbours; see [gathered.locate].
	heads int
	// sourceShape is the shape of the one source, if it is not that of the result.
	sourceShape []int
	// rowsLast says that it has three axes, of which the rows of the result are the last.
	rowsLast bool
	// cut is which rows of the one source are taken, if not all.
	cut cut
	// zeros is how many matrices of zeros follow those of the sources.
	zeros int
	// packed says that blocks and scales of MXFP4 are joined.
	packed bool
	// everyOther is 1 for the even elements of a source, 2 for the odd ones, 0 for all.
	everyOther int
	// transposed exchanges rows and columns of each matrix, after the cut.
	transposed bool
	// shift is added to every value.
	shift float32
	// values, if not nil, computes n values; there are no sources then.
	values func(n int) []float32
}

// cut says which rows of a source make the matrices of the result. The source is groups of
// groupRows rows, one for each matrix, such as the key and the value of a head, or gate
// and up of an expert: a matrix is every step-th row of its group from first on, as many as
// it has rows. Without a step all rows are taken.
type cut struct{ groupRows, first, step int }

// recipes is the list of all tensors of a model.
type recipes struct {
	list            []*recipe
	ignored         map[string]bool // source tensors that no recipe needs
	ignoredPrefixes []string        // of source tensors that no recipe needs
}

func (r *recipes) add(x *recipe) *recipe {
	r.list = append(r.list, x)
	return x
}

func (r *recipes) ignore(source string) {
	if r.ignored == nil {
		r.ignored = map[string]bool{}
	}
	r.ignored[source] = true
}

// ignoreNextTokens leaves out the blocks after the layers that predict tokens
// further ahead, which decoding does not need.
func (r *recipes) ignoreNextTokens(c *config, d *dims) {
	n := c.count("num_nextn_predict_layers")
	if n > d.blocks {
		c.fail("num_nextn_predict_layers", "at most the number of layers", n)
		return
	}
	for i := range n {
		r.ignoredPrefixes = append(r.ignoredPrefixes, fmt.Sprintf("model.layers.%d.", d.blocks+i))
	}
}

// inside makes the sources those of the language model in a model that sees
// images, whose other parts are left out.
func (r *recipes) inside(place func(name string) string) {
	for _, x := range r.list {
		for i := range x.sources {
			x.sources[i] = place(x.sources[i])
		}
		if x.instead != "" {
			x.instead = place(x.instead)
		}
	}
	ignored := map[string]bool{}
	for name := range r.ignored {
		ignored[place(name)] = true
	}
	r.ignored = ignored
	for _, part := range []string{"vision_tower.", "multi_modal_projector."} {
		r.ignoredPrefixes = append(r.ignoredPrefixes, part, "model."+part)
	}
}

// placeInside says what a tensor of a language model is called inside of another: since
// transformers 4.52 model.language_model comes for model, before that language_model was put
// before it.
func placeInside(folder *safetensors.Folder) func(name string) string {
	newer := slices.ContainsFunc(folder.Tensors(), func(t *safetensors.Tensor) bool { return strings.HasPrefix(t.Name, "model.language_model.") })
	return func(name string) string {
		if !newer {
			return "language_model." + name
		}
		if rest, ok := strings.CutPrefix(name, "model."); ok {
			return "model.language_model." + rest
		}
		return name
	}
}

// generated adds a vector of n computed values. It comes after the tensors that
// are read, whose shapes prove n to be what the folder holds.
func (r *recipes) generated(name string, n int, values func(n int) []float32) {
	r.add(&recipe{name: name, shape: []int{n}, values: values})
}

// norm adds NAME.weight of n values, each that of SOURCE.weight plus shift.
func (r *recipes) norm(name, source string, n int, shift float32) {
	r.add(&recipe{name: name + ".weight", shape: []int{n}, sources: []string{source + ".weight"}, shift: shift})
}

// The tensors that nearly all models name alike.
const (
	embedding  = "model.embed_tokens"
	headTensor = "lm_head.weight"
)

// embedding adds token_embd.weight. Tied weights are stored once, and some
// writers keep the head's name instead of the embedding's.
func (r *recipes) embedding(c *config, d *dims, source string) {
	e := r.add(&recipe{name: arch.TokenEmbedding, shape: []int{d.embed, d.vocab}, sources: []string{source + ".weight"}})
	if c.boolean("tie_word_embeddings", false) {
		e.instead = headTensor
	}
}

// head adds output.weight, unless it is tied to the embedding.
func (r *recipes) head(c *config, d *dims) {
	if c.boolean("tie_word_embeddings", false) {
		r.ignore(headTensor)
		return
	}
	r.add(&recipe{
		name: arch.Output, shape: []int{d.embed, d.vocab}, sources: []string{headTensor},
		optional: !c.has("tie_word_embeddings"),
	})
}

// block gives the builder of one layer's tensors.
func (r *recipes) block(i int) *block {
	return &block{recipes: r, name: arch.InLayer(i, ""), source: fmt.Sprintf("model.layers.%d.", i)}
}

// block adds the tensors of one layer; names are relative to it.
type block struct {
	*recipes
	name, source string // prefixes
	rename       func(source string) string
}

// from is the name in the folder of what is relative to the layer.
func (b *block) from(source string) string {
	if b.rename != nil {
		return b.rename(source)
	}
	return b.source + source
}

func (b *block) norm(name, source string, n int, shift float32) {
	b.recipes.norm(b.name+name, b.from(source), n, shift)
}

// bias says whether a linear layer has a bias.
type bias int

const (
	noBias bias = iota
	optionalBias
	requiredBias
)

// biasRule is requiredBias if the configuration says that there is one.
func biasRule(c *config, key string) bias {
	if c.boolean(key, false) {
		return requiredBias
	}
	return optionalBias
}

// linear is the weight of a linear layer and its bias, which may be nil.
type linear struct{ weight, bias *recipe }

// linear adds NAME.weight [in, out] and, as the rule says, NAME.bias [out].
func (b *block) linear(name, source string, in, out int, rule bias) linear {
	name, source = b.name+name, b.from(source)
	l := linear{weight: b.add(&recipe{name: name + ".weight", shape: []int{in, out}, sources: []string{source + ".weight"}})}
	if rule != noBias {
		l.bias = b.add(&recipe{name: name + ".bias", shape: []int{out}, sources: []string{source + ".bias"}, optional: rule == optionalBias})
	}
	return l
}

// rotaryPairs reorders the output rows of each head for rotation of neighbours.
func (l linear) rotaryPairs(heads int) {
	l.weight.heads = heads
	if l.bias != nil {
		l.bias.heads = heads
	}
}

// experts adds NAME.weight [in, out, n], stacked from the tensors that source
// names with the expert's number in place of %d.
func (b *block) experts(name, source string, n, in, out int) *recipe {
	x := &recipe{name: b.name + name + ".weight", shape: []int{in, out, n}}
	for i := range n {
		x.sources = append(x.sources, b.from(fmt.Sprintf(source, i))+".weight")
	}
	return b.add(x)
}
