package peft

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"qtool/gguf"
	"qtool/internal/arch"
	"qtool/internal/convert"
	"qtool/safetensors"
)

// ToGGUF gives an adapter as the GGUF that llama.cpp loads: for every weight a pair
// NAME.lora_a [in, rank], NAME.lora_b [rank, out], all F32, stacks of experts with a third
// axis; of the embedding lora_a is [rank, vocabulary].
//
// The rows of B follow those of the weight. Experts that have no pair of their own get
// zeros, and lower ranks are filled up with them. A weight that GGUF has in several tensors
// gives each its rows of B, without the ranks that are zero in all of these; several weights
// that GGUF has in one tensor give it a pair of their ranks together. GGUF has one alpha for
// all: that which is exact for most pairs, the others have the difference in B. So it is
// with rsLoRA, and with patterns of ranks and alphas.
//
// What is more than pairs on weights (DoRA, biases, modules_to_save, activated LoRA),
// or is on a weight that the model does not have, is refused with [ErrUnsupported].
func ToGGUF(l *convert.Layout, p *Adapter) (gguf.Model, error) {
	m, err := toGGUF(l, p)
	if err == nil { // all of it is in memory
		err = p.Unchanged()
	}
	if err != nil {
		return nil, fmt.Errorf("converting the PEFT adapter: %w", err)
	}
	return m, nil
}

func toGGUF(l *convert.Layout, p *Adapter) (gguf.Model, error) {
	scales, err := readScales(p.Config)
	if err != nil {
		return nil, err
	}
	entries, err := peftEntries(p.Tensors)
	if err != nil {
		return nil, err
	}
	pairs := map[*convert.Weight][]*pair{}
	for _, e := range entries {
		w, exchanged, err := weightOf(l, e, scales)
		if err != nil {
			return nil, err
		}
		if pairs[w] != nil {
			return nil, invalid("there are two pairs on %q", w)
		}
		if pairs[w], err = e.read(w, exchanged, scales); err != nil {
			return nil, err
		}
	}
	parts := map[*convert.Target]map[int][]placed{}
	for _, w := range slices.SortedFunc(maps.Keys(pairs), func(a, b *convert.Weight) int { return cmp.Compare(a.String(), b.String()) }) {
		for _, c := range w.Overlaps {
			q := toTarget(c, pairs[w][c.WeightMatrix])
			if q == nil {
				continue
			}
			if parts[c.Target] == nil {
				parts[c.Target] = map[int][]placed{}
			}
			parts[c.Target][c.Matrix] = append(parts[c.Target][c.Matrix], placed{q, func(i int) int { return c.Row + i }})
		}
	}
	return assemble(l, parts)
}

// assemble makes the model of the parts of each matrix of each target.
func assemble(l *convert.Layout, parts map[*convert.Target]map[int][]placed) (gguf.Model, error) {
	pairs := map[*convert.Target][]*pair{}
	votes := map[float64]int{}
	var alpha float64
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
				p = &pair{rank: rank, in: t.Columns(), out: t.Rows(), alpha: stack[first].alpha, over: stack[first].over}
				p.a, p.b = make([]float32, rank*p.in), make([]float32, p.out*rank)
			}
			stack[i] = p.padded(rank)
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
	alpha = float64(float32(alpha))
	md := &gguf.Metadata{}
	md.Set(arch.KeyArchitecture, l.Arch)
	md.Set("general.type", "adapter")
	md.Set("adapter.type", "lora")
	md.Set("adapter.lora.alpha", float32(alpha))
	var tensors []*gguf.Tensor
	for _, t := range l.Targets {
		if stack := pairs[t]; stack != nil {
			tensors = append(tensors, tensorsOf(t, stack, alpha)...)
		}
	}
	return gguf.Assemble(md, tensors), nil
}

// tensorsOf are the two halves of the pairs on t with the given alpha.
func tensorsOf(t *convert.Target, stack []*pair, alpha float64) []*gguf.Tensor {
	rank := stack[0].rank
	var a, b []float32
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

// peftEntry is a pair in the folder.
type peftEntry struct {
	module    string
	depth     int
	embedding bool
	a, b      *safetensors.Tensor
}

// peftEntries pairs the tensors, in order of their names.
func peftEntries(tensors []*safetensors.Tensor) ([]*peftEntry, error) {
	byPlace := map[string]*peftEntry{}
	var entries []*peftEntry
	for _, t := range slices.SortedFunc(slices.Values(tensors), func(a, b *safetensors.Tensor) int { return cmp.Compare(a.Name, b.Name) }) {
		module, half, depth, err := peftName(t.Name)
		if err != nil {
			return nil, err
		}
		if half == "" {
			continue
		}
		if len(t.Shape) != 2 || t.Shape[0] == 0 || t.Shape[1] == 0 {
			return nil, invalid("the tensor %q has shape %v, a half of a pair is a matrix", t.Name, t.Shape)
		}
		place := fmt.Sprintf("%s %d", module, depth)
		e := byPlace[place]
		if e == nil {
			e = &peftEntry{module: module, depth: depth}
			byPlace[place] = e
			entries = append(entries, e)
		}
		into := &e.a
		if strings.HasSuffix(half, "B") {
			into = &e.b
		}
		if *into != nil {
			return nil, invalid("the tensors %q and %q are the same half of one pair", (*into).Name, t.Name)
		}
		*into, e.embedding = t, strings.HasPrefix(half, "embedding")
	}
	for _, e := range entries {
		if e.a == nil || e.b == nil {
			return nil, invalid("only one half of the pair on %q is there", e.module)
		}
	}
	if len(entries) == 0 {
		return nil, invalid("it has no pairs")
	}
	return entries, nil
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
func weightOf(l *convert.Layout, e *peftEntry, s *peftScales) (w *convert.Weight, exchanged bool, err error) {
	found := candidates(l, e.module)
	if found == nil {
		return nil, false, refuse("it has a pair on %q, which the %s architecture has no weight for", e.module, l.Arch)
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
	return nil, false, invalid("the pair on %q is of %d columns and %d rows, the weights there are of %s", e.module, in, out, shapesOf(found))
}

func shapesOf(weights []*convert.Weight) string {
	var list []string
	for _, w := range weights {
		list = append(list, fmt.Sprintf("%d and %d", w.In, w.Out))
	}
	return strings.Join(list, " or ")
}

// read gives the pair of each matrix of w.
func (e *peftEntry) read(w *convert.Weight, turned bool, s *peftScales) ([]*pair, error) {
	n := max(1, w.Matrices)
	total := e.a.Shape[0]
	if total != e.b.Shape[1] || total%n != 0 {
		return nil, invalid("the halves of the pair on %q have shapes %v and %v, which do not share a rank (of each of %d matrices)", e.module, e.a.Shape, e.b.Shape, n)
	}
	a, err := floatsOf(e.a)
	if err != nil {
		return nil, err
	}
	b, err := floatsOf(e.b)
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
