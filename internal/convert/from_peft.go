package convert

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"qtool/gguf"
	"qtool/internal/arch"
	"qtool/safetensors"
)

// FromPEFT gives an adapter as the GGUF that llama.cpp loads: for every weight a pair
// NAME.lora_a [in, rank], NAME.lora_b [rank, out], all F32, stacks of experts with a third
// axis; of the embedding lora_a is [rank, vocabulary].
//
// The rows of B follow those of the weight. Experts that have no pair of their own get
// zeros, and lower ranks are filled up with them. A weight that GGUF has in several pieces gives each its rows
// of B, without the ranks that are zero in all of these; several weights that GGUF has in one
// piece give it a pair of their ranks together. GGUF has one alpha for all: that which is exact for
// most pairs, the others have the difference in B. So it is with rsLoRA, and with
// patterns of ranks and alphas.
//
// What is more than pairs on weights (DoRA, biases, modules_to_save, activated LoRA),
// or is on a weight that the model does not have, is refused with [ErrUnsupported].
func (l *Layout) FromPEFT(p *PEFT) (gguf.Model, error) {
	m, err := l.fromPEFT(p)
	if err == nil { // all of it is in memory
		err = p.Unchanged()
	}
	if err != nil {
		return nil, fmt.Errorf("converting the PEFT adapter: %w", err)
	}
	return m, nil
}

func (l *Layout) fromPEFT(p *PEFT) (gguf.Model, error) {
	scales, err := readScales(p.Config)
	if err != nil {
		return nil, err
	}
	entries, err := peftEntries(p.Tensors)
	if err != nil {
		return nil, err
	}
	pairs := map[*weight][]*pair{}
	for _, e := range entries {
		w, exchanged, err := l.weightOf(e, scales)
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
	parts := map[*target]map[int][]part{}
	for _, w := range slices.SortedFunc(maps.Keys(pairs), func(a, b *weight) int { return cmp.Compare(a.String(), b.String()) }) {
		for _, c := range w.pieces {
			q := c.toTarget(pairs[w][c.of])
			if q == nil {
				continue
			}
			if parts[c.target] == nil {
				parts[c.target] = map[int][]part{}
			}
			parts[c.target][c.matrix] = append(parts[c.target][c.matrix], part{q, func(i int) int { return c.row + i }})
		}
	}
	return l.assemble(parts)
}

// assemble makes the model of the parts of each matrix of each target.
func (l *Layout) assemble(parts map[*target]map[int][]part) (gguf.Model, error) {
	pairs := map[*target][]*pair{}
	votes := map[float64]int{}
	var alpha float64
	for _, t := range l.targets {
		of := parts[t]
		if of == nil {
			continue
		}
		stack := make([]*pair, max(1, t.matrices))
		rank, first := 0, -1
		for i := range stack {
			stack[i] = joined(t.rows(), of[i])
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
				p = &pair{rank: rank, in: t.columns(), out: t.rows(), alpha: stack[first].alpha, over: stack[first].over}
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
	md.Set(arch.KeyArchitecture, l.arch)
	md.Set("general.type", "adapter")
	md.Set("adapter.type", "lora")
	md.Set("adapter.lora.alpha", float32(alpha))
	var tensors []*gguf.Tensor
	for _, t := range l.targets {
		if stack := pairs[t]; stack != nil {
			tensors = append(tensors, t.tensors(stack, alpha)...)
		}
	}
	return gguf.Assemble(md, tensors), nil
}

// rows and columns are those of the matrix that the pair multiplies, which for an
// embedding is the transposed one.
func (t *target) rows() int {
	if t.embedding() {
		return t.in
	}
	return t.out
}

func (t *target) columns() int {
	if t.embedding() {
		return t.out
	}
	return t.in
}

func (t *target) embedding() bool { return t.name == arch.TokenEmbedding }

// tensors are the two halves of a pair with the given alpha.
func (t *target) tensors(stack []*pair, alpha float64) []*gguf.Tensor {
	rank := stack[0].rank
	var a, b []float32
	for _, p := range stack {
		p.scaled(alpha, float64(rank))
		a, b = append(a, p.a...), append(b, p.b...)
	}
	shapeA, shapeB := []int{t.in, rank}, []int{rank, t.out}
	if t.embedding() {
		a = exchanged(a, rank, t.out)
		shapeA, shapeB = []int{rank, t.out}, []int{rank, t.in}
	}
	if t.matrices > 0 {
		shapeA, shapeB = append(shapeA, t.matrices), append(shapeB, t.matrices)
	}
	return []*gguf.Tensor{gguf.Float32Tensor(t.name+".lora_a", shapeA, a), gguf.Float32Tensor(t.name+".lora_b", shapeB, b)}
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
func (l *Layout) candidates(module string) []*weight {
	if found := l.modules[module]; found != nil {
		return found
	}
	if older := strings.Replace(module, ".mlp.", ".block_sparse_moe.", 1); l.modules[older] != nil { // Mixtral's
		return l.modules[older]
	}
	for _, prefix := range insides {
		if rest, ok := strings.CutPrefix(module, prefix); ok {
			if found := l.modules["model."+rest]; found != nil {
				return found
			}
			if found := l.modules[rest]; found != nil {
				return found
			}
		}
	}
	return nil
}

// weightOf finds the weight that a pair is on. exchanged says that its A is over the rows
// and its B over the columns of the matrices.
func (l *Layout) weightOf(e *peftEntry, s *peftScales) (w *weight, exchanged bool, err error) {
	found := l.candidates(e.module)
	if found == nil {
		return nil, false, refuse("it has a pair on %q, which the %s architecture has no weight for", e.module, l.arch)
	}
	in, out := e.a.Shape[1], e.b.Shape[0]
	var second *weight
	for _, w := range found {
		straight, turned := w.in == in && w.out == out, w.matrices > 0 && !w.rowsLast && w.in == out && w.out == in
		switch {
		case w.embedding != e.embedding:
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

func shapesOf(weights []*weight) string {
	var list []string
	for _, w := range weights {
		list = append(list, fmt.Sprintf("%d and %d", w.in, w.out))
	}
	return strings.Join(list, " or ")
}

// read gives the pair of each matrix of w.
func (e *peftEntry) read(w *weight, turned bool, s *peftScales) ([]*pair, error) {
	n := max(1, w.matrices)
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
		names := []string{e.module, e.module + "." + w.param}
		if w.matrices > 0 {
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
	raw, err := t.Bytes()
	if err != nil {
		return nil, err
	}
	switch t.DType {
	case safetensors.F32:
		return gguf.DecodeFloat32(raw), nil
	case safetensors.F16, safetensors.BF16, safetensors.F64:
		decoded := make([]byte, 4*len(raw)/(t.DType.Bits()/8))
		decoder(t.DType, gguf.F32)(decoded, raw)
		return gguf.DecodeFloat32(decoded), nil
	}
	return nil, refuse("the tensor %q is stored as %v; F64, F32, F16 and BF16 are converted", t.Name, t.DType)
}
