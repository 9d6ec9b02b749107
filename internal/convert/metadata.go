package convert

import (
	"encoding/json"
	"math"
	"path/filepath"
	"slices"

	"qtool/gguf"
	"qtool/internal/arch"
)

// metadataWriter sets keys in the order in which llama.cpp's converter writes
// them, with its types.
type metadataWriter struct {
	arch string
	md   *gguf.Metadata
}

// uint, float and str set a key of the architecture.
func (w *metadataWriter) uint(key string, v int)      { w.md.Set(w.arch+"."+key, uint32(v)) }
func (w *metadataWriter) float(key string, v float64) { w.md.Set(w.arch+"."+key, float32(v)) }
func (w *metadataWriter) str(key, v string)           { w.md.Set(w.arch+"."+key, v) }

// general sets what the model is called.
func (w *metadataWriter) general(dir string, c *config, tensors []*gguf.Tensor) error {
	w.md.Set(arch.KeyArchitecture, w.arch)
	w.md.Set("general.type", "model")
	w.sampling(filepath.Join(dir, "generation_config.json"))
	name, organization, err := modelName(dir, c)
	if err != nil {
		return err
	}
	w.md.Set("general.name", name)
	if organization != "" {
		w.md.Set("general.organization", organization)
	}
	w.md.Set("general.size_label", sizeLabel(tensors))
	return nil
}

// sampling sets the recommended sampling parameters. They are only advice: a
// file that is not there or not understood does not matter.
func (w *metadataWriter) sampling(path string) {
	fields, err := ReadJSON(path)
	if err != nil {
		return
	}
	for _, p := range []struct{ field, key string }{
		{"top_k", "top_k"}, {"top_p", "top_p"}, {"min_p", "min_p"}, {"temperature", "temp"},
	} {
		n, _ := fields[p.field].(json.Number)
		f, err := n.Float64()
		switch {
		case err != nil:
		case p.key != "top_k":
			w.md.Set("general.sampling."+p.key, float32(f))
		case f == math.Trunc(f) && math.Abs(f) <= math.MaxInt32:
			w.md.Set("general.sampling."+p.key, int32(f))
		}
	}
}

// hyperparameters sets the keys that all architectures share.
func (w *metadataWriter) hyperparameters(d *dims, r *rope) {
	w.uint(arch.KeyBlockCount, d.blocks)
	w.uint(arch.KeyContextLength, d.context)
	w.uint(arch.KeyEmbeddingLength, d.embed)
	w.uint(arch.KeyFeedForwardLength, d.ff)
	w.uint(arch.KeyAttentionHeadCount, d.heads)
	w.uint(arch.KeyAttentionHeadCountKV, d.headsKV)
	r.write(w)
	w.float(arch.KeyRopeFreqBase, r.base)
	w.float(arch.KeyAttentionLayerNormRMSEpsilon, d.rmsEps)
	if d.experts > 0 {
		w.uint(arch.KeyExpertCount, d.experts)
		w.uint(arch.KeyExpertUsedCount, d.used)
	}
	if d.explicitHeadDim {
		w.uint(arch.KeyAttentionKeyLength, d.headDim)
		w.uint(arch.KeyAttentionValueLength, d.headDim)
	}
}

// fileType sets the type that most of the weights have, or that of files with MXFP4.
func (w *metadataWriter) fileType(tensors []*gguf.Tensor) {
	const mxfp4 = 38
	if slices.ContainsFunc(tensors, func(t *gguf.Tensor) bool { return t.Type == gguf.MXFP4 }) {
		w.md.Set("general.file_type", uint32(mxfp4))
		return
	}
	numbers := map[gguf.Type]uint32{gguf.F32: 0, gguf.F16: 1, gguf.BF16: 32}
	elements := map[gguf.Type]int{}
	most := gguf.F32
	for _, t := range tensors {
		elements[t.Type] += t.Elements()
		if elements[t.Type] > elements[most] {
			most = t.Type
		}
	}
	w.md.Set("general.file_type", numbers[most])
}
