package peft

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"qtool/gguf"
	"qtool/internal/arch"
	"qtool/internal/convert"
	"qtool/internal/half"
	"qtool/safetensors"
)

// FromGGUF gives an adapter in GGUF, whose halves are F32, F16 or BF16, as a folder: the inverse
// of [ToGGUF], so that the way there and back is exact where B is not zero and nothing is in the
// report. r, unless nil, is told what was done.
//
// A weight that GGUF has in several tensors gets one pair for all that have one: where
// they share A, with the rows of each B one after the other; else with the ranks of all, and
// zeros in B where the rows of one meet the ranks of another. A pair on q alone of a weight that
// holds q, k and v has zeros in the rows of k and v. Experts whose pair is all zero
// get none, where each is a module of its own. Modules are named as in the folder; those of
// a language model in one that sees images as transformers 4.52 and later do.
func FromGGUF(l *convert.Layout, adapter gguf.Model, o Options, r *Report) (*Adapter, error) {
	if r == nil {
		r = &Report{}
	}
	p, err := fromGGUF(l, adapter, &o, r)
	if err == nil { // all of it is in memory
		err = adapter.Unchanged()
	}
	if err != nil {
		return nil, fmt.Errorf("converting the adapter to %v: %w", o.Form, err)
	}
	return p, nil
}

func fromGGUF(l *convert.Layout, adapter gguf.Model, o *Options, r *Report) (*Adapter, error) {
	pairs, err := readTargets(l, adapter)
	if err != nil {
		return nil, err
	}
	for _, t := range l.Targets {
		if of, ok := pairs[t]; ok && !slices.ContainsFunc(of, func(p *pair) bool { return p != nil }) {
			r.Idle = append(r.Idle, t.Name)
		}
	}
	base := o.Base
	if base == "" {
		base = baseOf(adapter.Metadata())
	}
	var p *Adapter
	if o.Form == MLX {
		p, err = toMLX(l, pairs, base, o, r)
	} else {
		p, err = toPEFT(l, pairs, base, o, r)
	}
	if err != nil {
		return nil, err
	}
	p.Metadata[storedKey], err = storedText(adapter.Metadata())
	return p, err
}

// toPEFT gives the pairs as PEFT has them.
func toPEFT(l *convert.Layout, pairs map[*convert.Target][]*pair, base string, o *Options, r *Report) (*Adapter, error) {
	w := &peftWriter{inside: l.Inside, pairs: map[*convert.Weight][]*pair{}}
	for _, x := range l.Weights {
		if !o.Parameters || !x.PerExpert {
			w.add(x, pairs)
		}
	}
	if o.Parameters {
		for _, x := range l.Fused {
			w.add(x, pairs)
		}
	}
	if len(w.order) == 0 {
		return nil, invalid("it has no pair that changes the model")
	}
	p := &Adapter{Config: w.config(l, base), Metadata: map[string]string{"format": "pt"}}
	var err error
	p.Tensors, err = w.tensors(o, r)
	return p, err
}

// readTargets reads the pair of each matrix; nil where it is all zero.
func readTargets(l *convert.Layout, adapter gguf.Model) (map[*convert.Target][]*pair, error) {
	md := adapter.Metadata()
	for key, want := range map[string]string{keyType: "adapter", keyAdapterType: "lora"} {
		if v, err := md.Str(key); err != nil || v != want {
			return nil, invalid("metadata key %q must be %q and is %q", key, want, v)
		}
	}
	if v, err := md.Str(arch.KeyArchitecture); err != nil || v != l.Arch {
		return nil, mismatch("it was made for the architecture %q, and the model is of %q", v, l.Arch)
	}
	if md.Has(keyInvocation) {
		return nil, refuse("it is an activated LoRA, which works only after its invocation tokens")
	}
	alpha, err := gguf.Or(md.Float(keyAlpha))(0)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	pairs := map[*convert.Target][]*pair{}
	for _, a := range adapter.Tensors() {
		name, isA := strings.CutSuffix(a.Name, ".lora_a")
		if !isA {
			name, isB := strings.CutSuffix(a.Name, ".lora_b")
			if _, ok := adapter.Tensor(name + ".lora_a"); !isB || !ok {
				return nil, invalid("the tensor %q is no half of a pair that is there whole", a.Name)
			}
			continue
		}
		t, b := l.Target(name), (*gguf.Tensor)(nil)
		if reason := l.Unsized(name); t == nil && reason != "" {
			return nil, needsBase("for the pair on %q: %s", name, reason)
		}
		if t == nil {
			return nil, mismatch("it has a pair on %q, which the model does not have", name)
		}
		b, ok := adapter.Tensor(name + ".lora_b")
		if !ok {
			return nil, invalid("only one half of the pair on %q is there", name)
		}
		if pairs[t], err = readTarget(t, a, b, alpha); err != nil {
			return nil, err
		}
	}
	return pairs, nil
}

// read gives the pair of each matrix of t.
func readTarget(t *convert.Target, a, b *gguf.Tensor, alpha float64) ([]*pair, error) {
	n := max(1, t.Matrices)
	rank := b.Shape[0]
	wantA, wantB := []int{t.In, rank}, []int{rank, t.Rows()}
	if t.Embedding() {
		wantA = []int{rank, t.Out}
	}
	if t.Matrices > 0 {
		wantA, wantB = append(wantA, n), append(wantB, n)
	}
	if rank < 1 || !gguf.SameShape(a.Shape, wantA) || !gguf.SameShape(b.Shape, wantB) {
		return nil, mismatch("the halves of the pair on %q have shapes %v and %v, the weight asks for %v and %v", t.Name, a.Shape, b.Shape, wantA, wantB)
	}
	as, err := ggufFloats(a)
	if err != nil {
		return nil, err
	}
	bs, err := ggufFloats(b)
	if err != nil {
		return nil, err
	}
	if t.Embedding() {
		as = exchanged(as, t.Out, rank)
	}
	over := float64(rank)
	if alpha == 0 { // the scale is 1
		alpha, over = float64(rank), float64(rank)
	}
	pairs := make([]*pair, n)
	for m := range pairs {
		p := &pair{rank: rank, in: t.Columns(), out: t.Rows(), alpha: alpha, over: over}
		p.a, p.b = as[m*rank*p.in:][:rank*p.in], bs[m*rank*p.out:][:rank*p.out]
		switch idle := allZero(p.b); {
		case m >= n-t.Zeros && !idle:
			return nil, refuse("the pair on %q changes the expert that computes nothing, which the folder does not have", t.Name)
		case n == 1 || !idle || !allZero(p.a):
			pairs[m] = p
		}
	}
	return pairs, nil
}

func allZero(v []float32) bool {
	return !slices.ContainsFunc(v, func(x float32) bool { return x != 0 })
}

// ggufFloats decodes a half.
func ggufFloats(t *gguf.Tensor) ([]float32, error) {
	raw, err := t.Bytes()
	if err != nil {
		return nil, err
	}
	switch t.Type {
	case gguf.F32:
		return gguf.DecodeFloat32(raw), nil
	case gguf.F16, gguf.BF16:
		from := map[gguf.Type]func(uint16) float32{gguf.F16: half.FromFloat16, gguf.BF16: half.FromBFloat16}[t.Type]
		out := make([]float32, len(raw)/2)
		for i := range out {
			out[i] = from(uint16(raw[2*i]) | uint16(raw[2*i+1])<<8)
		}
		return out, nil
	}
	return nil, refuse("the tensor %q is stored as %v; F32, F16 and BF16 are converted", t.Name, t.Type)
}

// peftWriter collects the pairs of weights.
type peftWriter struct {
	inside bool
	order  []*convert.Weight
	pairs  map[*convert.Weight][]*pair
}

// add makes the pair of w of those on its overlaps, if they have any.
func (w *peftWriter) add(x *convert.Weight, pairs map[*convert.Target][]*pair) {
	if stack := onWeight(x, pairs); stack != nil {
		w.order = append(w.order, x)
		w.pairs[x] = stack
	}
}

// onWeight is a pair for each matrix of x, made of those on its overlaps; nil if there are none.
// All have the same rank and scale.
func onWeight(x *convert.Weight, pairs map[*convert.Target][]*pair) []*pair {
	parts := make([][]placed, max(1, x.Matrices))
	for _, c := range x.Overlaps {
		of := pairs[c.Target]
		if of == nil || of[c.Matrix] == nil {
			continue
		}
		if q := toWeight(c, of[c.Matrix]); q != nil {
			parts[c.WeightMatrix] = append(parts[c.WeightMatrix], placed{q, c.Rows.At})
		}
	}
	stack, rank, first := make([]*pair, len(parts)), 0, -1
	for i, p := range parts {
		if stack[i] = joined(x.Out, p); stack[i] != nil {
			rank = max(rank, stack[i].rank)
			if first < 0 {
				first = i
			}
		}
	}
	if first < 0 {
		return nil
	}
	for i, p := range stack {
		if p == nil {
			p = zeroPair(rank, x.In, x.Out, stack[first].alpha, stack[first].over)
		}
		p = p.widened(rank)
		p.scaled(stack[first].alpha, stack[first].over)
		stack[i] = p
	}
	return stack
}

// path is that of the module in the model that PEFT wraps.
func (w *peftWriter) path(x *convert.Weight) string {
	if rest, ok := strings.CutPrefix(x.Module, "model."); ok && w.inside {
		return "model.language_model." + rest
	}
	return x.Module
}

// name is what patterns and targets call the weight.
func (w *peftWriter) name(x *convert.Weight) string {
	if x.Parameter {
		return w.path(x) + "." + x.Param
	}
	return w.path(x)
}

// tensors lists both halves of every pair. Of the parameters of one module that which is
// listed first lies inside.
func (w *peftWriter) tensors(o *Options, r *Report) ([]*safetensors.Tensor, error) {
	around := map[string]int{}
	for _, x := range w.order {
		around[x.Module]++
	}
	var out []*safetensors.Tensor
	put := func(name string, v []float32, shape ...int) error {
		t, err := o.tensor(name, v, shape, r)
		out = append(out, t)
		return err
	}
	for _, x := range w.order {
		around[x.Module]--
		prefix := "base_model.model." + w.path(x) + strings.Repeat(".base_layer", around[x.Module])
		stack := w.pairs[x]
		n, rank := len(stack), stack[0].rank
		var a []float32
		b := make([]float32, x.Out*rank*n)
		for m, p := range stack {
			a = append(a, p.a...)
			for i := range x.Out {
				for r := range rank {
					b[i*rank*n+r*n+m] = p.b[i*rank+r]
				}
			}
		}
		r.note(w.name(x), stack)
		halves := [2]string{".lora_A.weight", ".lora_B.weight"}
		if x.Embedding {
			halves = [2]string{".lora_embedding_A", ".lora_embedding_B"}
		}
		if err := put(prefix+halves[0], a, rank*n, x.In); err != nil {
			return nil, err
		}
		if err := put(prefix+halves[1], b, x.Out, rank*n); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// config is adapter_config.json. The rank and the alpha that most pairs have are those of
// the adapter, the others are listed by name.
func (w *peftWriter) config(l *convert.Layout, base string) map[string]any {
	type kind struct {
		rank  int
		alpha float64
	}
	kinds, votes := map[*convert.Weight]kind{}, map[kind]int{}
	var usual kind
	for _, x := range w.order {
		p := w.pairs[x][0]
		k := kind{p.rank, p.alpha * float64(p.rank) / p.over}
		kinds[x] = k
		votes[k]++
		if votes[k] > votes[usual] {
			usual = k
		}
	}
	ranks, alphas := map[string]int{}, map[string]any{}
	var modules, parameters []string
	for _, x := range w.order {
		name := w.name(x)
		if k := kinds[x]; k != usual {
			ranks[name], alphas[name] = k.rank, number(k.alpha)
		}
		if x.Parameter {
			parameters = append(parameters, name)
		} else {
			modules = append(modules, name)
		}
	}
	c := map[string]any{
		"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": usual.rank, "lora_alpha": number(usual.alpha), "lora_dropout": 0.0, "bias": "none",
		"use_rslora": false, "use_dora": false, "fan_in_fan_out": false, "init_lora_weights": true, "inference_mode": true, "modules_to_save": nil,
		"rank_pattern": ranks, "alpha_pattern": alphas, "base_model_name_or_path": nil,
		"target_modules": w.shortened(modules, l), "target_parameters": nil,
		"peft_version": "0.19.1", // whose layout stacks have
	}
	if base != "" {
		c["base_model_name_or_path"] = base
	}
	if parameters != nil {
		c["target_parameters"] = parameters
	}
	return c
}

// number is an integer where v is one.
func number(v float64) any {
	if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
		return int64(v)
	}
	return v
}

// shortened gives the last names of modules, such as q_proj, where all modules of that
// name have pairs, and the whole names of the others.
func (w *peftWriter) shortened(modules []string, l *convert.Layout) []string {
	last := func(name string) string { return name[strings.LastIndexByte(name, '.')+1:] }
	missing := map[string]int{}
	for _, x := range l.Weights {
		if !x.Parameter {
			missing[last(x.Module)]++
		}
	}
	for _, m := range modules {
		missing[last(m)]--
	}
	short := map[string]bool{}
	for _, m := range modules {
		if name := last(m); missing[name] == 0 && !w.inside && !l.Outlined {
			m = name
		}
		short[m] = true
	}
	return slices.SortedFunc(maps.Keys(short), cmp.Compare[string])
}
