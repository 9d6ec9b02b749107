package convert

import (
	"fmt"
	"path/filepath"
	"strings"

	"qtool/internal/arch"
)

// Layout knows which rows of which weight of a Hugging Face model are which rows of
// which GGUF tensor. That is all that carries LoRA pairs from one form to the other:
// [Layout.FromPEFT] and [Layout.ToPEFT].
type Layout struct {
	arch    string // its name
	inside  bool   // the language model is a part of one that sees images
	targets []*target
	weights []*weight // in the order of the targets
	byName  map[string]*target
	// modules are the weights of a module of the folder's model, by its path.
	modules map[string][]*weight
}

// target is a GGUF tensor that a pair may change: matrices of out rows of in elements.
type target struct {
	name     string
	in, out  int
	matrices int // 0 if it is not a stack
	zeros    int // of these, the last ones, which the folder does not have
	pieces   []*piece
}

// weight is one of the folder.
type weight struct {
	module, param string // the path of the module and the name of its parameter
	in, out       int
	matrices      int  // 0 if it is not a stack
	rowsLast      bool // a stack is kept as [matrices, in, out], not [matrices, out, in]
	embedding     bool // it is looked up
	parameter     bool // the module is no linear layer
	pieces        []*piece
}

// piece is the rows that both have in common.
type piece struct {
	target      *target
	matrix, row int // of the target: the matrix, and the first row
	weight      *weight
	of          int // the matrix of the weight
	rows        rowMap
	n           int
	// transposed says that the rows of the weight are the columns of the target's matrix.
	transposed bool
}

// rowMap finds the rows of a weight that follow each other in a target.
type rowMap struct {
	first, step int
	headRows    int // of a head whose halves become neighbours; 0 for none
}

func (m rowMap) at(i int) int {
	if m.headRows > 0 {
		head, k := i/m.headRows, i%m.headRows
		i = head*m.headRows + k%2*(m.headRows/2) + k/2
	}
	return m.first + i*m.step
}

// maxPieces bounds what a configuration may claim before weights are seen; the largest
// models have a quarter.
const maxPieces = 1 << 17

// LayoutOfFolder reads config.json in dir; weights need not be there. It fails as
// [Open] does.
func LayoutOfFolder(dir string) (*Layout, error) {
	l, err := layoutOfFolder(dir)
	if err != nil {
		return nil, fmt.Errorf("reading the model %s: %w", dir, err)
	}
	return l, nil
}

func layoutOfFolder(dir string) (*Layout, error) {
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
	d, err := readDims(c, unseen(), expertForm{}, fam)
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
	l.inside = c.has("text_config")
	return l, nil
}

// newLayout takes apart what the family's recipes say.
func newLayout(fam *family, c *config, d *dims) (*Layout, error) {
	if each := d.experts + d.heads + 8; d.blocks > maxPieces/each {
		return nil, invalid("%s gives %d layers of %d heads and %d experts, more than any model has", c.where, d.blocks, d.heads, d.experts)
	}
	d.packed = true // floats have their rows and columns as the blocks of MXFP4
	list := &recipes{}
	fam.recipes(list, c, d)
	if c.err != nil {
		return nil, c.err
	}
	l := &Layout{arch: fam.arch, byName: map[string]*target{}, modules: map[string][]*weight{}}
	known := map[string]*weight{}
	for _, x := range list.list {
		if len(x.shape) >= 2 && strings.HasSuffix(x.name, ".weight") && x.values == nil {
			l.add(x, known)
		}
	}
	l.addFusedExperts()
	return l, nil
}

// add makes a target of a recipe, with the weights that it is made of.
func (l *Layout) add(x *recipe, known map[string]*weight) {
	t := &target{name: x.name, in: x.shape[0], out: x.shape[1], zeros: x.zeros}
	if len(x.shape) > 2 {
		t.matrices = x.shape[2]
	}
	l.targets = append(l.targets, t)
	l.byName[t.name] = t
	sources := x.sources
	switch {
	case x.packed:
		sources = []string{strings.TrimSuffix(x.sources[0], "_blocks")}
	case x.name == arch.Output: // a pair on the head is none on the embedding, also where they are tied
		sources = []string{headTensor}
	}
	for i, source := range sources {
		w := known[source]
		if w == nil {
			w = newWeight(source, x, t)
			known[source] = w
			l.weights = append(l.weights, w)
			l.modules[w.module] = append(l.modules[w.module], w)
		}
		x.pieces(t, w, i, len(sources))
	}
}

// newWeight finds the shape of a source.
func newWeight(source string, x *recipe, t *target) *weight {
	dot := strings.LastIndexByte(source, '.')
	w := &weight{module: source[:dot], param: source[dot+1:], in: t.in, out: t.out, embedding: t.name == arch.TokenEmbedding}
	if w.embedding {
		w.in, w.out = t.out, t.in
	}
	w.parameter = strings.HasSuffix(t.name, ".ffn_gate_inp.weight") || x.packed || len(x.sourceShape) == 3
	switch n := len(x.sourceShape); {
	case x.packed: // the model's own code has the values as [experts, in, out]
		w.matrices, w.out, w.rowsLast = x.sourceShape[0], x.sourceShape[1], true
	case n == 3:
		w.matrices, w.out, w.in, w.rowsLast = x.sourceShape[0], x.sourceShape[1], x.sourceShape[2], x.rowsLast
		if x.rowsLast {
			w.out, w.in = w.in, w.out
		}
	case n == 2:
		w.out, w.in = x.sourceShape[0], x.sourceShape[1]
	}
	return w
}

// pieces adds what target t has of weight w, the i-th of n.
func (x *recipe) pieces(t *target, w *weight, i, n int) {
	add := func(p piece) {
		p.target, p.weight = t, w
		t.pieces, w.pieces = append(t.pieces, &p), append(w.pieces, &p)
	}
	rows := rowMap{step: 1}
	if x.heads > 0 {
		rows.headRows = t.out / x.heads
	}
	if w.embedding {
		add(piece{rows: rows, n: w.out})
		return
	}
	if n > 1 {
		add(piece{matrix: i, rows: rows, n: t.out})
		return
	}
	if x.cut.step > 0 {
		rows.first, rows.step = x.cut.first, x.cut.step
	}
	for m := range max(1, t.matrices) {
		p := piece{matrix: m, rows: rows, n: t.out, transposed: x.transposed}
		if x.transposed {
			p.n = t.in
		}
		if w.matrices > 0 {
			p.of = m
		} else {
			p.rows.first += m * x.cut.pieceRows
		}
		add(p)
	}
}

// addFusedExperts lists also the two weights in which newer models of transformers hold
// all experts of a layer: [experts, gate and up, in] and [experts, out, ff].
func (l *Layout) addFusedExperts() {
	for _, gate := range l.targets {
		prefix, ok := strings.CutSuffix(gate.name, "ffn_gate_exps.weight")
		up, down := l.byName[prefix+"ffn_up_exps.weight"], l.byName[prefix+"ffn_down_exps.weight"]
		if !ok || up == nil || down == nil || gate.pieces[0].weight.matrices > 0 {
			continue
		}
		layer, _, _ := strings.Cut(gate.pieces[0].weight.module, ".experts.")
		layer = strings.TrimSuffix(layer, ".block_sparse_moe") // Mixtral's older name
		module := strings.TrimSuffix(layer, ".mlp") + ".mlp.experts"
		n := len(gate.pieces) // without an expert of zeros
		both := &weight{module: module, param: "gate_up_proj", in: gate.in, out: 2 * gate.out, matrices: n, parameter: true}
		one := &weight{module: module, param: "down_proj", in: down.in, out: down.out, matrices: n, parameter: true}
		l.modules[module] = append(l.modules[module], both, one)
		for e := range n {
			both.pieces = append(both.pieces,
				&piece{target: gate, matrix: e, weight: both, of: e, rows: rowMap{step: 1}, n: gate.out},
				&piece{target: up, matrix: e, weight: both, of: e, rows: rowMap{first: gate.out, step: 1}, n: up.out})
			one.pieces = append(one.pieces, &piece{target: down, matrix: e, weight: one, of: e, rows: rowMap{step: 1}, n: down.out})
		}
	}
}

// String names the weight as PEFT does.
func (w *weight) String() string {
	if w.parameter {
		return w.module + "." + w.param
	}
	return w.module
}
