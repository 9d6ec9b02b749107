package peft

import (
	"cmp"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"

	"qtool/gguf"
	"qtool/internal/arch"
	"qtool/internal/convert"
	"qtool/safetensors"
)

// mlxPart is a stack of matrices in mlx-lm, and the rows of a target that it is.
type mlxPart struct {
	target   *convert.Target
	row, out int // the first row, how many
	matrices int // without experts of zeros
}

// mlxProjections are the modules of a SwitchGLU, by the tensors that hold the same.
var mlxProjections = map[string]string{"ffn_gate_exps.weight": "gate_proj", "ffn_up_exps.weight": "up_proj", "ffn_down_exps.weight": "down_proj"}

// mlxStacks are the modules of mlx-lm that hold the experts of a layer, by their paths: a
// SwitchGLU, which has gate, up and down apart, as GGUF has them.
func mlxStacks(l *convert.Layout) map[string]mlxPart {
	stacks := map[string]mlxPart{}
	for _, t := range l.Targets {
		_, name, _ := arch.SplitLayer(t.Name)
		projections := []string{mlxProjections[name]}
		if name == "ffn_gate_up_exps.weight" {
			projections = []string{"gate_proj", "up_proj"}
		}
		if projections[0] == "" || len(t.Overlaps) == 0 {
			continue
		}
		inner, module := ".switch_mlp.", t.Overlaps[0].Weight.Module
		if l.Arch == "gpt-oss" {
			inner = ".experts."
		}
		place, _, isExperts := strings.Cut(module+".", ".experts.")
		if !isExperts { // granite's input_linear
			place = module[:strings.LastIndexByte(module, '.')]
		}
		for i, p := range projections {
			out := t.Out / len(projections)
			stacks[mlxInside(l, place+inner+p)] = mlxPart{t, i * out, out, t.Matrices - t.Zeros}
		}
	}
	return stacks
}

// mlxInside is the path of a module in the model that mlx-lm makes: a language model that is part
// of one that sees images is under language_model.
func mlxInside(l *convert.Layout, module string) string {
	if l.Inside {
		return "language_model." + module
	}
	return module
}

// mlxScale checks that the adapter adds scale · B · A to weights, and gives the scale.
func mlxScale(fields map[string]any) (float64, error) {
	c := &reader{fields: fields}
	kind := c.text("fine_tune_type", "lora")
	parameters := &reader{where: ", lora_parameters", fields: field(c, "lora_parameters", "an object", map[string]any(nil))}
	scale := parameters.number("scale", 0)
	for _, err := range []error{c.err, parameters.err} {
		if err != nil {
			return 0, err
		}
	}
	switch {
	case kind == "dora" || !isNothing(fields["use_dora"]):
		return 0, refuse("it is DoRA, which also scales every row of the changed weights (fine_tune_type of %s); %s", adapterConfig, wayOut)
	case kind != "lora":
		return 0, refuse("its fine_tune_type is %q: it holds whole weights that were trained; %s", kind, wayOut)
	case scale == 0 || math.IsInf(scale, 0) || math.IsNaN(scale):
		return 0, invalid("reading %s, lora_parameters: the scale is %g or missing", adapterConfig, scale)
	}
	return scale, nil
}

// readMLX finds the weights that the pairs of a folder of mlx-lm are on.
func readMLX(l *convert.Layout, p *Adapter, parts targetParts, r *Report) error {
	scale, err := mlxScale(p.Config)
	if err != nil {
		return err
	}
	entries, err := mlxEntries(p.Tensors)
	if err != nil {
		return err
	}
	stacks := mlxStacks(l)
	pairs := map[*convert.Weight][]*pair{}
	seen := map[*convert.Target]map[int]bool{}
	for _, e := range entries {
		// Mixtures that see images are read with and without what surrounds the language model.
		if part, ok := stacks[mlxInside(l, strings.TrimPrefix(e.module, "language_model."))]; ok {
			if seen[part.target][part.row] {
				return invalid("there are two pairs on %q", e.module)
			}
			if seen[part.target] == nil {
				seen[part.target] = map[int]bool{}
			}
			seen[part.target][part.row] = true
			stack, err := e.mlxStack(part, scale)
			if err != nil {
				return err
			}
			idle := true
			for m, q := range stack {
				if !allZero(q.a) || !allZero(q.b) {
					parts.add(part.target, m, placed{q, func(i int) int { return part.row + i }})
					idle = false
				}
			}
			if idle {
				r.Idle = append(r.Idle, e.module)
			}
			continue
		}
		w, q, err := e.mlxMatrix(l, scale)
		if err != nil {
			return err
		}
		if pairs[w] != nil {
			return invalid("there are two pairs on %q", w)
		}
		pairs[w] = []*pair{q}
	}
	parts.addWeights(pairs, r)
	return nil
}

// mlxEntries pairs the tensors, in order of their names.
func mlxEntries(tensors []*safetensors.Tensor) ([]*entry, error) {
	c := &pairing{}
	for _, t := range slices.SortedFunc(slices.Values(tensors), func(a, b *safetensors.Tensor) int { return cmp.Compare(a.Name, b.Name) }) {
		module, isA := strings.CutSuffix(t.Name, ".lora_a")
		if !isA {
			var isB bool
			if module, isB = strings.CutSuffix(t.Name, ".lora_b"); !isB {
				if strings.HasSuffix(t.Name, ".m") {
					return nil, refuse("the tensor %q is a magnitude of DoRA, which is no pair; %s", t.Name, wayOut)
				}
				return nil, refuse("the tensor %q is no half of a LoRA pair: a whole weight that was trained, or pairs that mlx-lm quantized; %s", t.Name, wayOut)
			}
		}
		if _, err := c.add(t, module, 0, !isA, 2, 3); err != nil {
			return nil, err
		}
	}
	return c.complete()
}

// mlxMatrix is the pair on a linear layer or the embedding: halves [in, rank] and [rank, out].
func (e *entry) mlxMatrix(l *convert.Layout, scale float64) (*convert.Weight, *pair, error) {
	if len(e.a.Shape) != 2 || len(e.b.Shape) != 2 || e.a.Shape[1] != e.b.Shape[0] {
		return nil, nil, e.unlike("[in, rank] and [rank, out]")
	}
	found := candidates(l, e.module)
	if found == nil {
		if strings.HasSuffix(e.module, ".embed_q") || strings.HasSuffix(e.module, ".unembed_out") {
			return nil, nil, refuse("it has a pair on %q, which mlx-lm has no LoRA for", e.module)
		}
		return nil, nil, noWeight(l, e.module)
	}
	in, rank, out := e.a.Shape[0], e.a.Shape[1], e.b.Shape[1]
	i := slices.IndexFunc(found, func(w *convert.Weight) bool { return w.Matrices == 0 && w.In == in && w.Out == out })
	if i < 0 {
		return nil, nil, mismatch("the pair on %q is of %d columns and %d rows, the weights there are of %s", e.module, in, out, shapesOf(found))
	}
	a, b, err := e.values()
	if err != nil {
		return nil, nil, err
	}
	p := &pair{rank: rank, in: in, out: out, a: exchanged(a, in, rank), b: exchanged(b, rank, out), alpha: scale * float64(rank), over: float64(rank)}
	return found[i], p.trimmed(), nil
}

// mlxStack are the pairs on the matrices of a stack: halves [matrices, rank, in] and [matrices,
// out, rank].
func (e *entry) mlxStack(part mlxPart, scale float64) ([]*pair, error) {
	t := part.target
	if len(e.a.Shape) != 3 || len(e.b.Shape) != 3 || e.a.Shape[1] != e.b.Shape[2] {
		return nil, e.unlike("[experts, rank, in] and [experts, out, rank]")
	}
	rank, in, out := e.a.Shape[1], e.a.Shape[2], e.b.Shape[1]
	if e.a.Shape[0] != part.matrices || e.b.Shape[0] != part.matrices || in != t.In || out != part.out {
		return nil, mismatch("the pair on %q is of %d experts of %d columns and %d rows, the weights there are %d of %d and %d",
			e.module, e.a.Shape[0], in, out, part.matrices, t.In, part.out)
	}
	a, b, err := e.values()
	if err != nil {
		return nil, err
	}
	stack, most := make([]*pair, part.matrices), 1
	for m := range stack {
		p := &pair{rank: rank, in: in, out: out, alpha: scale * float64(rank), over: float64(rank)}
		p.a, p.b = a[m*rank*in:][:rank*in], b[m*rank*out:][:rank*out]
		stack[m] = p
		most = max(most, p.trimmed().rank)
	}
	for m, p := range stack {
		stack[m] = p.cutTo(most)
	}
	return stack, nil
}

func (e *entry) unlike(want string) error {
	return invalid("the halves of the pair on %q have shapes %v and %v, expected %s", e.module, e.a.Shape, e.b.Shape, want)
}

// mlxWriter collects the modules of mlx-lm that have pairs.
type mlxWriter struct {
	modules []string
	stacks  map[string][]*pair
	isStack map[string]bool
}

func (w *mlxWriter) add(module string, stack []*pair, isStack bool) {
	w.modules = append(w.modules, module)
	w.stacks[module], w.isStack[module] = stack, isStack
}

// toMLX gives the adapter as mlx-lm has it. All pairs get one rank, the largest, and one scale,
// that of most pairs.
func toMLX(l *convert.Layout, pairs map[*convert.Target][]*pair, base string, o *Options, r *Report) (*Adapter, error) {
	w := &mlxWriter{stacks: map[string][]*pair{}, isStack: map[string]bool{}}
	stacks, inStacks := mlxStacks(l), map[*convert.Target]bool{}
	for _, module := range slices.Sorted(maps.Keys(stacks)) {
		part := stacks[module]
		inStacks[part.target] = true
		if stack := mlxRows(part, pairs[part.target]); stack != nil {
			w.add(module, stack, true)
		}
	}
	for _, t := range l.Targets {
		_, name, _ := arch.SplitLayer(t.Name)
		if pairs[t] != nil && (name == "attn_k_b.weight" || name == "attn_v_b.weight" || name == "attn_kv_b.weight") {
			return nil, refuse("it has a pair on %q, which mlx-lm has no LoRA for; --to peft can express it", t.Name)
		}
	}
	for _, x := range l.Weights {
		apart := map[*convert.Target][]*pair{}
		for _, c := range x.Overlaps {
			if !inStacks[c.Target] {
				apart[c.Target] = pairs[c.Target]
			}
		}
		if stack := onWeight(x, apart); stack != nil {
			w.add(mlxInside(l, x.Module), stack, false)
		}
	}
	if len(w.modules) == 0 {
		return nil, invalid("it has no pair that changes the model")
	}
	return w.adapter(base, o, r)
}

// mlxRows are the pairs of a target's matrices on the rows of a part; nil if none changes any.
func mlxRows(part mlxPart, of []*pair) []*pair {
	if of == nil {
		return nil
	}
	stack, rank, first := make([]*pair, part.matrices), 0, -1
	for m := range stack {
		if of[m] == nil {
			continue
		}
		if stack[m] = of[m].rowsOf(part.out, func(i int) int { return part.row + i }); stack[m] != nil {
			rank = max(rank, stack[m].rank)
			if first < 0 {
				first = m
			}
		}
	}
	if first < 0 {
		return nil
	}
	for m, p := range stack {
		if p == nil {
			p = zeroPair(rank, part.target.In, part.out, stack[first].alpha, stack[first].over)
		}
		stack[m] = p.widened(rank)
	}
	return stack
}

// adapter makes the tensors and the configuration.
func (w *mlxWriter) adapter(base string, o *Options, r *Report) (*Adapter, error) {
	rank, scale, votes := 0, 0.0, map[float64]int{}
	for _, module := range w.modules {
		first := w.stacks[module][0]
		rank = max(rank, first.rank)
		s := first.alpha / first.over
		if votes[s]++; votes[s] > votes[scale] {
			scale = s
		}
	}
	p := &Adapter{Form: MLX, Metadata: map[string]string{"format": "mlx"}}
	put := func(name string, v []float32, shape ...int) error {
		t, err := o.tensor(name, v, shape, r)
		p.Tensors = append(p.Tensors, t)
		return err
	}
	keys := map[string]bool{}
	for _, module := range w.modules {
		stack := w.stacks[module]
		var a, b []float32
		for i, q := range stack {
			q = q.widened(rank)
			q.scaled(scale, 1)
			stack[i] = q
			if w.isStack[module] {
				a, b = append(a, q.a...), append(b, q.b...)
			} else {
				a, b = exchanged(q.a, rank, q.in), exchanged(q.b, q.out, rank)
			}
		}
		r.note(module, stack)
		q := stack[0]
		shapeA, shapeB := []int{q.in, rank}, []int{rank, q.out}
		if w.isStack[module] {
			shapeA, shapeB = []int{len(stack), rank, q.in}, []int{len(stack), q.out, rank}
		}
		if err := put(module+".lora_a", a, shapeA...); err != nil {
			return nil, err
		}
		if err := put(module+".lora_b", b, shapeB...); err != nil {
			return nil, err
		}
		keys[inLayer.ReplaceAllString(module, "")] = true
	}
	p.Config = map[string]any{
		"fine_tune_type": "lora",
		"num_layers":     -1, // all
		"lora_parameters": map[string]any{
			"rank": rank, "scale": number(scale), "dropout": 0.0, "keys": slices.Sorted(maps.Keys(keys)),
		},
	}
	if base != "" {
		p.Config["model"] = base
	}
	return p, nil
}

// inLayer is what mlx-lm leaves out of the keys of modules in layers.
var inLayer = regexp.MustCompile(`^(language_model\.)?model\.layers\.\d+\.`)

// Options say how a folder is written.
type Options struct {
	Form Form
	// Base is the repository or the path of the model, "" for that which the adapter says.
	Base string
	// Parameters gives the pairs on experts as transformers 5 has them, on parameters that hold all
	// experts of a layer; else each expert is a module of its own, as in transformers 4. Where the
	// architecture has one form alone, and in mlx-lm, it changes nothing.
	Parameters bool
	// Type is F32, F16 or BF16.
	Type gguf.Type
}

// tensor is a half in the storage type.
func (o *Options) tensor(name string, v []float32, shape []int, r *Report) (*safetensors.Tensor, error) {
	t := &safetensors.Tensor{Name: name, DType: safetensors.F32, Shape: shape, Data: gguf.Float32s(v)}
	n := narrowTypes[o.Type]
	if n == nil {
		return t, nil
	}
	data, err := n.encoded(name, v, r)
	t.DType, t.Data = narrowDTypes[o.Type], data
	return t, err
}
