package convert

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"qtool/internal/arch"
	"qtool/safetensors"
)

// Layout knows which rows of which weight of a Hugging Face model are which rows of which
// GGUF tensor. That is all that carries LoRA pairs from one form to the other.
type Layout struct {
	Arch   string // general.architecture
	Inside bool   // the language model is a part of one that sees images
	// Outlined says that it was made of an [Outline]: it has only the weights that this knows,
	// which nothing was compared with.
	Outlined bool
	Targets  []*Target
	Weights  []*Weight // in the order of the targets
	// Fused are the weights in which transformers 5 holds the experts that are modules of their
	// own in Weights, which are marked PerExpert.
	Fused []*Weight

	byName map[string]*Target
	// modules are the weights of a module of the folder's model, by its path.
	modules map[string][]*Weight
	// unsized is why a tensor or a module is not known of an outline.
	unsized map[string]string
}

// Target finds a target by the name of its tensor; nil if there is none.
func (l *Layout) Target(name string) *Target { return l.byName[name] }

// Module lists the weights of a module of the folder's model, given its path.
func (l *Layout) Module(path string) []*Weight { return l.modules[path] }

// Target is a GGUF tensor that a pair may change: matrices of Out rows of In elements.
type Target struct {
	Name     string
	In, Out  int
	Matrices int // 0 if it is not a stack
	Zeros    int // of these, the last ones, which the folder does not have
	Overlaps []*Overlap
}

// Rows and Columns are those of the matrix that the pair multiplies, which for an
// embedding is the transposed one.
func (t *Target) Rows() int {
	if t.Embedding() {
		return t.In
	}
	return t.Out
}

// Columns is told with [Target.Rows].
func (t *Target) Columns() int {
	if t.Embedding() {
		return t.Out
	}
	return t.In
}

// Embedding reports whether tokens are looked up in the tensor.
func (t *Target) Embedding() bool { return t.Name == arch.TokenEmbedding }

// Weight is one of the folder.
type Weight struct {
	Module, Param string // the path of the module and the name of its parameter
	In, Out       int
	Matrices      int  // 0 if it is not a stack
	RowsLast      bool // a stack is kept as [matrices, in, out], not [matrices, out, in]
	Embedding     bool // it is looked up
	Parameter     bool // the module is no linear layer
	PerExpert     bool // it is one expert's, and [Layout.Fused] has it with the others
	Overlaps      []*Overlap
}

// Overlap is rows that a target and a weight have in common.
type Overlap struct {
	Target       *Target
	Matrix, Row  int // of the target: the matrix, and the first row
	Weight       *Weight
	WeightMatrix int // the matrix of the weight
	Rows         RowMap
	N            int // how many
	// Transposed says that the rows of the weight are the columns of the target's matrix.
	Transposed bool
}

// RowMap finds the rows of a weight that follow each other in a target.
type RowMap struct {
	first, step int
	headRows    int // of a head whose halves become neighbours; 0 for none
}

// At is the row of the weight that is the i-th of the overlap in the target.
func (m RowMap) At(i int) int {
	if m.headRows > 0 {
		head, k := i/m.headRows, i%m.headRows
		i = head*m.headRows + k%2*(m.headRows/2) + k/2
	}
	return m.first + i*m.step
}

// maxOverlaps bounds what a configuration may claim before weights are seen; the largest
// models have a quarter.
const maxOverlaps = 1 << 17

// LayoutOfFolder reads config.json in dir; weights need not be there. It fails as
// [Open] does.
func LayoutOfFolder(dir string) (*Layout, error) { return layoutAt(dir, nil) }

// LayoutOfStored is [LayoutOfFolder] with the weights as folder, that in dir, stores them, where
// an architecture permits more than one form.
func LayoutOfStored(dir string, folder *safetensors.Folder) (*Layout, error) {
	return layoutAt(dir, folder)
}

func layoutAt(dir string, folder *safetensors.Folder) (*Layout, error) {
	l, err := layoutOfFolder(dir, folder)
	if err != nil {
		return nil, fmt.Errorf("reading the model %s: %w", dir, err)
	}
	return l, nil
}

// layoutOfFolder takes the usual forms where folder is nil.
func layoutOfFolder(dir string, folder *safetensors.Folder) (*Layout, error) {
	c, err := readConfig(filepath.Join(dir, "config.json"))
	if err != nil {
		return nil, err
	}
	fam, err := findFamily(c)
	if err != nil {
		return nil, err
	}
	if err := fam.accept(c); err != nil {
		return nil, err
	}
	held, form := unseen(), expertForm{}
	if folder != nil {
		held, form = holdingOf(folder), formOfExperts(folder, c)
	}
	d, err := readDims(c, held, form, fam)
	if err != nil {
		return nil, err
	}
	if _, err := readRope(c, d, fam); err != nil {
		return nil, err
	}
	l, err := newLayout(fam, c, d)
	if err != nil {
		return nil, err
	}
	l.Inside = c.has("text_config")
	return l, nil
}

// newLayout takes apart what the family's recipes say.
func newLayout(fam *family, c *config, d *dims) (*Layout, error) {
	list, err := layoutRecipes(fam, c, d)
	if err != nil {
		return nil, err
	}
	l := &Layout{Arch: fam.arch, byName: map[string]*Target{}, modules: map[string][]*Weight{}}
	known := map[string]*Weight{}
	for _, x := range list {
		l.add(x, known)
	}
	l.addFusedExperts()
	return l, nil
}

// layoutRecipes are those of weights that pairs may change.
func layoutRecipes(fam *family, c *config, d *dims) ([]*recipe, error) {
	if each := d.experts + d.heads + 8; d.blocks > maxOverlaps/each {
		return nil, invalid("%s gives %d layers of %d heads and %d experts, more than any model has", c.where, d.blocks, d.heads, d.experts)
	}
	d.packed = true // floats have their rows and columns as the blocks of MXFP4
	list := &recipes{}
	fam.recipes(list, c, d)
	if c.err != nil {
		return nil, c.err
	}
	return slices.DeleteFunc(list.list, func(x *recipe) bool {
		return len(x.shape) < 2 || !strings.HasSuffix(x.name, ".weight") || x.values != nil
	}), nil
}

// add makes a target of a recipe, with the weights that it is made of.
func (l *Layout) add(x *recipe, known map[string]*Weight) {
	t := &Target{Name: x.name, In: x.shape[0], Out: x.shape[1], Zeros: x.zeros}
	if len(x.shape) > 2 {
		t.Matrices = x.shape[2]
	}
	l.Targets = append(l.Targets, t)
	l.byName[t.Name] = t
	sources := x.weights()
	for i, source := range sources {
		w := known[source]
		if w == nil {
			w = newWeight(source, x, t)
			known[source] = w
			l.Weights = append(l.Weights, w)
			l.modules[w.Module] = append(l.modules[w.Module], w)
		}
		x.overlaps(t, w, i, len(sources))
	}
}

// weights are the names of the folder's weights that pairs are on.
func (x *recipe) weights() []string {
	switch {
	case x.packed:
		return []string{strings.TrimSuffix(x.sources[0], "_blocks")}
	case x.name == arch.Output: // a pair on the head is none on the embedding, also where they are tied
		return []string{headTensor}
	}
	return x.sources
}

// newWeight finds the shape of a source.
func newWeight(source string, x *recipe, t *Target) *Weight {
	dot := strings.LastIndexByte(source, '.')
	w := &Weight{Module: source[:dot], Param: source[dot+1:], In: t.In, Out: t.Out, Embedding: t.Name == arch.TokenEmbedding}
	if w.Embedding {
		w.In, w.Out = t.Out, t.In
	}
	w.Parameter = strings.HasSuffix(t.Name, ".ffn_gate_inp.weight") || x.packed || len(x.sourceShape) == 3
	switch n := len(x.sourceShape); {
	case x.packed: // the model's own code has the values as [experts, in, out]
		w.Matrices, w.Out, w.RowsLast = x.sourceShape[0], x.sourceShape[1], true
	case n == 3:
		w.Matrices, w.Out, w.In, w.RowsLast = x.sourceShape[0], x.sourceShape[1], x.sourceShape[2], x.rowsLast
		if x.rowsLast {
			w.Out, w.In = w.In, w.Out
		}
	case n == 2:
		w.Out, w.In = x.sourceShape[0], x.sourceShape[1]
	}
	return w
}

// overlaps adds what target t has of weight w, the i-th of n.
func (x *recipe) overlaps(t *Target, w *Weight, i, n int) {
	add := func(p Overlap) {
		p.Target, p.Weight = t, w
		t.Overlaps, w.Overlaps = append(t.Overlaps, &p), append(w.Overlaps, &p)
	}
	rows := RowMap{step: 1}
	if x.heads > 0 {
		rows.headRows = t.Out / x.heads
	}
	if w.Embedding {
		add(Overlap{Rows: rows, N: w.Out})
		return
	}
	if n > 1 {
		add(Overlap{Matrix: i, Rows: rows, N: t.Out})
		return
	}
	if x.cut.step > 0 {
		rows.first, rows.step = x.cut.first, x.cut.step
	}
	for m := range max(1, t.Matrices-t.Zeros) {
		p := Overlap{Matrix: m, Rows: rows, N: t.Out, Transposed: x.transposed}
		if x.transposed {
			p.N = t.In
		}
		if w.Matrices > 0 {
			p.WeightMatrix = m
		} else {
			p.Rows.first += m * x.cut.groupRows
		}
		add(p)
	}
}

// addFusedExperts lists also the two weights in which newer models of transformers hold
// all experts of a layer: [experts, gate and up, in] and [experts, out, ff].
func (l *Layout) addFusedExperts() {
	for _, gate := range l.Targets {
		prefix, ok := strings.CutSuffix(gate.Name, "ffn_gate_exps.weight")
		up, down := l.byName[prefix+"ffn_up_exps.weight"], l.byName[prefix+"ffn_down_exps.weight"]
		if !ok || up == nil || down == nil || gate.Overlaps[0].Weight.Matrices > 0 {
			continue
		}
		layer, _, _ := strings.Cut(gate.Overlaps[0].Weight.Module, ".experts.")
		layer = strings.TrimSuffix(layer, ".block_sparse_moe") // Mixtral's older name
		module := strings.TrimSuffix(layer, ".mlp") + ".mlp.experts"
		n := len(gate.Overlaps) // without an expert of zeros
		both := &Weight{Module: module, Param: "gate_up_proj", In: gate.In, Out: 2 * gate.Out, Matrices: n, Parameter: true}
		one := &Weight{Module: module, Param: "down_proj", In: down.In, Out: down.Out, Matrices: n, Parameter: true}
		l.modules[module], l.Fused = append(l.modules[module], both, one), append(l.Fused, both, one)
		for e := range n {
			for _, t := range []*Target{gate, up, down} {
				t.Overlaps[e].Weight.PerExpert = true
			}
			both.Overlaps = append(both.Overlaps,
				&Overlap{Target: gate, Matrix: e, Weight: both, WeightMatrix: e, Rows: RowMap{step: 1}, N: gate.Out},
				&Overlap{Target: up, Matrix: e, Weight: both, WeightMatrix: e, Rows: RowMap{first: gate.Out, step: 1}, N: up.Out})
			one.Overlaps = append(one.Overlaps, &Overlap{Target: down, Matrix: e, Weight: one, WeightMatrix: e, Rows: RowMap{step: 1}, N: down.Out})
		}
	}
}

// String names the weight as PEFT does.
func (w *Weight) String() string {
	if w.Parameter {
		return w.Module + "." + w.Param
	}
	return w.Module
}
