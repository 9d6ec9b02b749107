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
	"qtool/safetensors"
)

// ToGGUF gives an adapter as the GGUF that llama.cpp loads: for every weight a pair
// NAME.lora_a [in, rank], NAME.lora_b [rank, out], all F32, stacks of experts with a third
// axis; of the embedding lora_a is [rank, vocabulary]. r, unless nil, is told what was done.
//
// The rows of B follow those of the weight. Experts that have no pair of their own get
// zeros, and lower ranks are filled up with them. A weight that GGUF has in several tensors
// gives each its rows of B, without the ranks that are zero in all of these; several weights
// that GGUF has in one tensor give it a pair of their ranks together. GGUF has one alpha for
// all, and a pair the scale alpha/rank: alpha is that which is exact for most pairs, the others
// have the difference in B. So it is with rsLoRA, patterns of ranks and alphas, and the one
// scale of mlx-lm.
//
// What is more than pairs on weights (DoRA, biases, modules_to_save, activated LoRA) is refused
// with [ErrUnsupported], pairs on weights that the model does not have, or of another size, with
// [ErrMismatch].
func ToGGUF(l *convert.Layout, p *Adapter, r *Report) (gguf.Model, error) {
	if r == nil {
		r = &Report{}
	}
	m, err := toGGUF(l, p, r)
	if err == nil { // all of it is in memory
		err = p.Unchanged()
	}
	if err != nil {
		return nil, fmt.Errorf("converting the adapter of %v: %w", p.Form, err)
	}
	return m, nil
}

func toGGUF(l *convert.Layout, p *Adapter, r *Report) (gguf.Model, error) {
	parts := targetParts{}
	read := readPEFT
	if p.Form == MLX {
		read = readMLX
	}
	md, err := p.metadataFor(l.Arch)
	if err != nil {
		return nil, err
	}
	if err := read(l, p, parts, r); err != nil {
		return nil, err
	}
	return assemble(l, parts, md, r)
}

// targetParts are the pairs on rows of each matrix of each target.
type targetParts map[*convert.Target]map[int][]placed

func (parts targetParts) add(t *convert.Target, matrix int, p placed) {
	if parts[t] == nil {
		parts[t] = map[int][]placed{}
	}
	parts[t][matrix] = append(parts[t][matrix], p)
}

// addWeights adds what the pairs on the matrices of weights do to the targets.
func (parts targetParts) addWeights(pairs map[*convert.Weight][]*pair, r *Report) {
	for _, w := range slices.SortedFunc(maps.Keys(pairs), func(a, b *convert.Weight) int { return cmp.Compare(a.String(), b.String()) }) {
		idle := true
		for _, c := range w.Overlaps {
			if q := toTarget(c, pairs[w][c.WeightMatrix]); q != nil {
				parts.add(c.Target, c.Matrix, placed{q, func(i int) int { return c.Row + i }})
				idle = false
			}
		}
		if idle {
			r.Idle = append(r.Idle, w.String())
		}
	}
}

// readPEFT finds the weights that the pairs of a folder of PEFT are on.
func readPEFT(l *convert.Layout, p *Adapter, parts targetParts, r *Report) error {
	scales, err := readScales(p.Config)
	if err != nil {
		return err
	}
	entries, err := peftEntries(p.Tensors)
	if err != nil {
		return err
	}
	pairs := map[*convert.Weight][]*pair{}
	for _, e := range entries {
		w, exchanged, err := weightOf(l, e, scales)
		if err != nil {
			return err
		}
		if pairs[w] != nil {
			return invalid("there are two pairs on %q", w)
		}
		if pairs[w], err = e.read(w, exchanged, scales); err != nil {
			return err
		}
	}
	parts.addWeights(pairs, r)
	return nil
}

// assemble makes the model of the parts of each matrix of each target.
func assemble(l *convert.Layout, parts targetParts, further *gguf.Metadata, r *Report) (gguf.Model, error) {
	pairs := map[*convert.Target][]*pair{}
	votes := map[float64]int{}
	var alpha float64
	ones := true // all scales are 1, which alpha 0 says for every rank
	for _, t := range l.Targets {
		of := parts[t]
		if of == nil {
			continue
		}
		stack := make([]*pair, max(1, t.Matrices))
		rank, first := 0, -1
		for i := range stack {
			stack[i] = joined(t.Rows(), of[i])
			if stack[i] != nil {
				rank = max(rank, stack[i].rank)
				if first < 0 {
					first = i
				}
			}
		}
		pairs[t] = stack
		for i, p := range stack {
			if p == nil {
				p = zeroPair(rank, t.Columns(), t.Rows(), stack[first].alpha, stack[first].over)
			}
			stack[i] = p.widened(rank)
		}
		for _, p := range stack {
			ones = ones && p.alpha == p.over
		}
		exact := stack[first].alpha * float64(rank) / stack[first].over
		votes[exact]++
		if alpha == 0 || votes[exact] > votes[alpha] {
			alpha = exact
		}
	}
	if len(pairs) == 0 {
		return nil, invalid("it has no pair that changes the model")
	}
	if alpha = float64(float32(alpha)); alpha == 0 || math.IsInf(alpha, 0) {
		return nil, invalid("its alpha is %g, and that of an adapter in GGUF is a float32 other than 0", alpha)
	}
	if ones && len(votes) > 1 {
		alpha = 0
	}
	md := &gguf.Metadata{}
	md.Set(arch.KeyArchitecture, l.Arch)
	md.Set(keyType, "adapter")
	md.Set(keyAdapterType, "lora")
	md.Set(keyAlpha, float32(alpha))
	for _, kv := range further.All() {
		md.Set(kv.Key, kv.Value)
	}
	var tensors []*gguf.Tensor
	for _, t := range l.Targets {
		if stack := pairs[t]; stack != nil {
			tensors = append(tensors, tensorsOf(t, stack, alpha)...)
			r.note(t.Name, stack)
		}
	}
	return gguf.Assemble(md, tensors), nil
}

// tensorsOf are the two halves of the pairs on t with the given alpha, of which 0 stands for a
// scale of 1.
func tensorsOf(t *convert.Target, stack []*pair, alpha float64) []*gguf.Tensor {
	rank := stack[0].rank
	var a, b []float32
	if alpha == 0 {
		alpha = float64(rank)
	}
	for _, p := range stack {
		p.scaled(alpha, float64(rank))
		a, b = append(a, p.a...), append(b, p.b...)
	}
	shapeA, shapeB := []int{t.In, rank}, []int{rank, t.Out}
	if t.Embedding() {
		a = exchanged(a, rank, t.Out)
		shapeA, shapeB = []int{rank, t.Out}, []int{rank, t.In}
	}
	if t.Matrices > 0 {
		shapeA, shapeB = append(shapeA, t.Matrices), append(shapeB, t.Matrices)
	}
	return []*gguf.Tensor{gguf.Float32Tensor(t.Name+".lora_a", shapeA, a), gguf.Float32Tensor(t.Name+".lora_b", shapeB, b)}
}

// entry is a pair in a folder.
type entry struct {
	module    string
	depth     int // how many layers lie around it, in PEFT
	embedding bool
	a, b      *safetensors.Tensor
}

// pairing pairs tensors, whose halves come in any order.
type pairing struct {
	byPlace map[string]*entry
	entries []*entry
}

// add makes t a half of the pair on a module. A half has a number of axes from least to most.
func (c *pairing) add(t *safetensors.Tensor, module string, depth int, isB bool, least, most int) (*entry, error) {
	if n := len(t.Shape); n < least || n > most || slices.Contains(t.Shape, 0) {
		return nil, invalid("the tensor %q has shape %v, a half of a pair is a matrix", t.Name, t.Shape)
	}
	place := fmt.Sprintf("%s %d", module, depth)
	e := c.byPlace[place]
	if e == nil {
		e = &entry{module: module, depth: depth}
		if c.byPlace == nil {
			c.byPlace = map[string]*entry{}
		}
		c.byPlace[place] = e
		c.entries = append(c.entries, e)
	}
	into := &e.a
	if isB {
		into = &e.b
	}
	if *into != nil {
		return nil, invalid("the tensors %q and %q are the same half of one pair", (*into).Name, t.Name)
	}
	*into = t
	return e, nil
}

// complete gives the pairs, both halves of each.
func (c *pairing) complete() ([]*entry, error) {
	for _, e := range c.entries {
		if e.a == nil || e.b == nil {
			return nil, invalid("only one half of the pair on %q is there", e.module)
		}
	}
	if len(c.entries) == 0 {
		return nil, invalid("it has no pairs")
	}
	return c.entries, nil
}

// values decodes both halves.
func (e *entry) values() (a, b []float32, err error) {
	if a, err = floatsOf(e.a); err == nil {
		b, err = floatsOf(e.b)
	}
	return a, b, err
}

// peftEntries pairs the tensors, in order of their names.
func peftEntries(tensors []*safetensors.Tensor) ([]*entry, error) {
	c := &pairing{}
	for _, t := range slices.SortedFunc(slices.Values(tensors), func(a, b *safetensors.Tensor) int { return cmp.Compare(a.Name, b.Name) }) {
		module, half, depth, err := peftName(t.Name)
		if err != nil {
			return nil, err
		}
		if half == "" {
			continue
		}
		e, err := c.add(t, module, depth, strings.HasSuffix(half, "B"), 2, 2)
		if err != nil {
			return nil, err
		}
		e.embedding = strings.HasPrefix(half, "embedding")
	}
	return c.complete()
}

// insides are where the language model may be in one that sees images.
var insides = []string{"model.language_model.", "language_model.model.", "language_model."}

// candidates are the weights of the model at the path of a module.
func candidates(l *convert.Layout, module string) []*convert.Weight {
	if found := l.Module(module); found != nil {
		return found
	}
	if older := strings.Replace(module, ".mlp.", ".block_sparse_moe.", 1); l.Module(older) != nil { // Mixtral's
		return l.Module(older)
	}
	for _, prefix := range insides {
		if rest, ok := strings.CutPrefix(module, prefix); ok {
			if found := l.Module("model." + rest); found != nil {
				return found
			}
			if found := l.Module(rest); found != nil {
				return found
			}
		}
	}
	return nil
}

// weightOf finds the weight that a pair is on. exchanged says that its A is over the rows
// and its B over the columns of the matrices.
func weightOf(l *convert.Layout, e *entry, s *peftScales) (w *convert.Weight, exchanged bool, err error) {
	found := candidates(l, e.module)
	if found == nil {
		return nil, false, noWeight(l, e.module)
	}
	in, out := e.a.Shape[1], e.b.Shape[0]
	var second *convert.Weight
	for _, w := range found {
		straight, turned := w.In == in && w.Out == out, w.Matrices > 0 && !w.RowsLast && w.In == out && w.Out == in
		switch {
		case w.Embedding != e.embedding:
		case straight && turned:
			return w, s.old, nil
		case straight:
			return w, false, nil
		case turned:
			second = w
		}
	}
	if second != nil {
		return second, true, nil
	}
	return nil, false, mismatch("the pair on %q is of %d columns and %d rows, the weights there are of %s", e.module, in, out, shapesOf(found))
}

// noWeight is the error about a module that the layout does not have.
func noWeight(l *convert.Layout, module string) error {
	if reason := l.Unsized(module); reason != "" {
		return needsBase("for the pair on %q: %s", module, reason)
	}
	if l.Outlined && strings.Contains(module, ".experts") {
		return needsBase("for the pair on %q: GGUF has all experts of a layer in one tensor, and the adapter does not tell how many there are", module)
	}
	if strings.HasSuffix(module, "lm_head") && l.Target(arch.Output) == nil && !l.Outlined {
		return refuse("it has a pair on %q, and the head of this model is its embedding: neither llama.cpp nor a merged model can change one without the other", module)
	}
	return mismatch("it has a pair on %q, which the %s architecture has no weight for", module, l.Arch)
}

func shapesOf(weights []*convert.Weight) string {
	var list []string
	for _, w := range weights {
		list = append(list, fmt.Sprintf("%d and %d", w.In, w.Out))
	}
	return strings.Join(list, " or ")
}

// read gives the pair of each matrix of w.
func (e *entry) read(w *convert.Weight, turned bool, s *peftScales) ([]*pair, error) {
	n := max(1, w.Matrices)
	total := e.a.Shape[0]
	if total != e.b.Shape[1] || total%n != 0 {
		return nil, invalid("the halves of the pair on %q have shapes %v and %v, which do not share a rank (of each of %d matrices)", e.module, e.a.Shape, e.b.Shape, n)
	}
	a, b, err := e.values()
	if err != nil {
		return nil, err
	}
	rank, in, out := total/n, e.a.Shape[1], e.b.Shape[0]
	pairs := make([]*pair, n)
	for m := range pairs {
		p := &pair{rank: rank, in: in, out: out, a: a[m*rank*in:][:rank*in], b: b}
		if n > 1 {
			p.b = make([]float32, out*rank)
			for i := range out {
				for r := range rank {
					p.b[i*rank+r] = b[i*total+r*n+m]
				}
			}
		}
		names := []string{e.module, e.module + "." + w.Param}
		if w.Matrices > 0 {
			names = names[1:]
		}
		if err := s.scale(p, names); err != nil {
			return nil, err
		}
		if turned {
			p = p.transposed()
		}
		pairs[m] = p
	}
	return pairs, nil
}

// floatsOf decodes a half.
func floatsOf(t *safetensors.Tensor) ([]float32, error) {
	values, ok, err := convert.Floats(t)
	if !ok {
		return nil, refuse("the tensor %q is stored as %v; F64, F32, F16 and BF16 are converted", t.Name, t.DType)
	}
	return values, err
}
