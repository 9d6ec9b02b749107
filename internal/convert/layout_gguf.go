package convert

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"qtool/gguf"
	"qtool/internal/arch"
)

// LayoutOfGGUF takes the sizes from the metadata and the shapes of m, whose data it
// does not read. What m stores in one tensor (attn_qkv, attn_kv_b, ffn_gate_up_exps)
// although the family has several weights is one target. An architecture that no
// Hugging Face model becomes is refused with [ErrUnsupported].
func LayoutOfGGUF(m gguf.Model) (*Layout, error) {
	l, err := layoutOfGGUF(m)
	if err != nil {
		return nil, fmt.Errorf("reading the model's layout: %w", err)
	}
	return l, nil
}

func layoutOfGGUF(m gguf.Model) (*Layout, error) {
	name, err := arch.Name(m)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	i := slices.IndexFunc(all, func(f *family) bool { return f.arch == name })
	if i < 0 {
		return nil, refuse("the architecture %q is not handled", name)
	}
	fam := all[i]
	k := &keys{counts: arch.CountsOf(m, name), arch: name}
	d := k.dims(fam)
	d.readWidths(m)
	embedding, ok := m.Tensor(arch.TokenEmbedding)
	if !ok || len(embedding.Shape) != 2 {
		return nil, invalid("the model has no matrix token_embd.weight")
	}
	d.vocab = embedding.Shape[1]
	if k.err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, k.err)
	}
	_, untied := m.Tensor(arch.Output)
	c := &config{where: "the metadata", fields: map[string]any{"tie_word_embeddings": !untied}}
	if d.headsKV < 1 || d.heads%d.headsKV != 0 {
		return nil, invalid("%d heads are no multiple of %d key-value heads", d.heads, d.headsKV)
	}
	l, err := newLayout(fam, c, d)
	if err != nil {
		return nil, err
	}
	return l, l.fit(m)
}

// keys reads metadata and keeps the first error.
type keys struct {
	counts *arch.Counts
	arch   string
	err    error
}

// int is the value of a key of the architecture; def if it is not there. Of a list
// with an element for each layer it is the largest.
func (k *keys) int(key string, def int) int {
	list, err := k.counts.PerLayer(key, 0, 0)
	switch {
	case err == nil:
		return slices.Max(list)
	case errors.Is(err, gguf.ErrMissing):
		return def
	case k.err == nil:
		k.err = err
	}
	return max(def, 1)
}

// need is int of a key that must be there and not 0.
func (k *keys) need(key string) int {
	n := k.int(key, 0)
	if n == 0 {
		if k.err == nil {
			k.err = fmt.Errorf("metadata key %q is missing or 0", k.arch+"."+key)
		}
		return 1
	}
	return n
}

// dims are the sizes that the names and shapes of tensors follow from.
func (k *keys) dims(fam *family) *dims {
	d := &dims{
		blocks: k.need(arch.KeyBlockCount) - k.int(arch.KeyNextNPredictLayers, 0),
		embed:  k.need(arch.KeyEmbeddingLength), heads: k.need(arch.KeyAttentionHeadCount),
		experts: k.int(arch.KeyExpertCount, 0), identity: k.int(arch.KeyNZeroExperts, 0), leadingDense: k.int(arch.KeyLeadingDenseBlockCount, 0),
	}
	d.headsKV = k.int(arch.KeyAttentionHeadCountKV, d.heads)
	d.headDim = k.int(arch.KeyAttentionKeyLength, d.embed/d.heads)
	d.rotated = k.int(arch.KeyRopeDimensionCount, d.headDim)
	if fam.row().Has(arch.LatentAttention) {
		d.headDim = d.rotated
		d.latent = latentDims{
			qRank: k.int(arch.KeyAttentionQLoraRank, 0), kvRank: k.need(arch.KeyAttentionKVLoraRank),
			plain: k.need(arch.KeyAttentionKeyLengthMLA) - d.rotated, value: k.need(arch.KeyAttentionValueLengthMLA),
		}
	}
	return d
}

// readWidths takes the widths of feed-forward parts from the shapes: not all files have keys
// for them.
func (d *dims) readWidths(m gguf.Model) {
	width := func(name string) int {
		for _, x := range m.Tensors() {
			if strings.HasSuffix(x.Name, name) && len(x.Shape) > 1 {
				return x.Shape[0]
			}
		}
		return 0
	}
	d.ff, d.expertFF, d.sharedFF = width(".ffn_down.weight"), width(".ffn_down_exps.weight"), width(".ffn_down_shexp.weight")
	if d.ff == 0 { // some families call the width of experts so
		d.ff = d.expertFF
	}
}

// fit makes the targets those that m has, in its order.
func (l *Layout) fit(m gguf.Model) error {
	var targets []*Target
	for _, x := range m.Tensors() {
		t := l.byName[x.Name]
		if t == nil {
			t = l.fused(x)
		}
		if t == nil {
			continue
		}
		if want := t.shape(); !gguf.SameShape(x.Shape, want) {
			t.Matrices, t.Zeros = t.Matrices-t.Zeros, 0 // some files have no expert of zeros
			if !gguf.SameShape(x.Shape, t.shape()) {
				return invalid("the tensor %q has shape %v, the metadata give %v", x.Name, x.Shape, want)
			}
		}
		targets = append(targets, t)
	}
	l.Targets, l.byName = targets, map[string]*Target{}
	for _, t := range targets {
		l.byName[t.Name] = t
	}
	for _, w := range l.everyWeight() {
		w.Overlaps = slices.DeleteFunc(w.Overlaps, func(p *Overlap) bool { return l.byName[p.Target.Name] != p.Target })
	}
	return nil
}

func (l *Layout) everyWeight() (out []*Weight) {
	for _, ws := range l.modules {
		out = append(out, ws...)
	}
	return out
}

// shape is in the order of GGUF.
func (t *Target) shape() []int {
	if t.Matrices > 0 {
		return []int{t.In, t.Out, t.Matrices}
	}
	return []int{t.In, t.Out}
}

// fusions are the tensors that hold the rows of several others of their layer.
var fusions = map[string][]string{
	"attn_qkv.weight":         {"attn_q.weight", "attn_k.weight", "attn_v.weight"},
	"ffn_gate_up_exps.weight": {"ffn_gate_exps.weight", "ffn_up_exps.weight"},
}

// fused is the target of a tensor that holds the rows of several targets; nil if x is
// none.
func (l *Layout) fused(x *gguf.Tensor) *Target {
	layer, name, ok := arch.SplitLayer(x.Name)
	if !ok {
		return nil
	}
	prefix := arch.InLayer(layer, "")
	if keys := l.byName[prefix+"attn_k_b.weight"]; name == "attn_kv_b.weight" && keys != nil {
		w := keys.Overlaps[0].Weight
		t := &Target{Name: x.Name, In: w.In, Out: w.Out}
		p := &Overlap{Target: t, Weight: w, Rows: RowMap{step: 1}, N: w.Out}
		t.Overlaps, w.Overlaps = []*Overlap{p}, append(w.Overlaps, p)
		return t
	}
	var t *Target
	for _, part := range fusions[name] {
		of := l.byName[prefix+part]
		if of == nil {
			return nil
		}
		if t == nil {
			t = &Target{Name: x.Name, In: of.In, Matrices: of.Matrices}
		}
		for _, w := range l.everyWeight() {
			for _, p := range w.Overlaps {
				if p.Target == of {
					q := *p
					q.Target, q.Row = t, t.Out
					t.Overlaps, w.Overlaps = append(t.Overlaps, &q), append(w.Overlaps, &q)
				}
			}
		}
		t.Out += of.Out
	}
	return t
}
