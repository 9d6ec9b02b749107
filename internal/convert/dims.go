package convert

import (
	"fmt"
	"math"

	"qtool/internal/arch"
	"qtool/internal/input"
	"qtool/safetensors"
)

// holding is what a folder holds, which bounds what its config.json can claim.
type holding struct {
	tensors int
	largest int // elements of a tensor
}

func holdingOf(folder *safetensors.Folder) holding {
	h := holding{tensors: len(folder.Tensors())}
	for _, t := range folder.Tensors() {
		n := int64(1)
		for _, d := range t.Shape {
			n *= int64(d)
		}
		h.largest = max(h.largest, int(min(n, math.MaxInt32)))
	}
	return h
}

// unseen is the holding of a folder whose weights are not there.
func unseen() holding { return holding{math.MaxInt, math.MaxInt32} }

// dims are the sizes that most architectures share.
type dims struct {
	blocks, context int
	embed, ff       int // width of the residual stream, of the feed-forward part
	heads, headsKV  int
	headDim         int
	rotated         int // elements of a head that rotate
	rope            *rope
	explicitHeadDim bool // config.json gives headDim; else it is embed/heads
	experts, used   int  // 0 without experts
	expertFF        int  // width of an expert
	identity        int  // further experts that give back what they get
	packed          bool // the folder holds experts in MXFP4
	fused           bool // all experts of a layer are in two tensors, as transformers 5 has them
	columns         bool // these have the rows of matrices as their last axis
	sharedCount     int  // experts that all tokens share
	sharedFF        int  // width of all of these
	latent          latentDims
	leadingDense    int // the first layers have no experts
	vocab           int
	rmsEps          float64
}

// readDims reads and checks the sizes. Every block has at least one tensor, and so has
// every expert, and every width is a side of a tensor or a part of one: what the folder
// cannot hold is refused before it costs memory.
func readDims(c *config, holds holding, form expertForm, f *family) (*dims, error) {
	d := &dims{
		fused: form.fused, columns: form.columns,
		blocks:  c.required("num_hidden_layers", "n_layers", "n_layer", "num_layers"),
		context: c.required("max_position_embeddings", "n_ctx", "n_positions", "max_sequence_length"),
		embed:   c.required("hidden_size", "n_embd", "dim"),
		ff:      c.required("intermediate_size", "n_inner", "hidden_dim"),
		heads:   c.required("num_attention_heads", "n_head", "n_heads"),
		vocab:   c.required("vocab_size"),
		rmsEps:  c.float(1e-6, "rms_norm_eps", "norm_eps"),
	}
	d.headsKV = c.integer(d.heads, "num_key_value_heads", "n_kv_heads")
	d.headDim = c.integer(d.embed/d.heads, "head_dim")
	d.explicitHeadDim = c.has("head_dim")
	if c.has("num_local_experts", "num_experts", "n_routed_experts") {
		d.experts = c.integer(0, "num_local_experts", "num_experts", "n_routed_experts")
		d.used = c.required("num_experts_per_tok", "num_experts_per_token", "top_k_experts", "moe_topk")
	}
	if c.err != nil {
		return nil, c.err
	}
	d.readExperts(c)
	if f.row().Has(arch.LatentAttention) {
		d.readLatents(c)
	}
	if c.err != nil {
		return nil, c.err
	}
	return d, d.check(holds, f)
}

func (d *dims) check(holds holding, f *family) error {
	// Experts of two values in a byte have twice the elements of their tensor.
	widest := input.MostInt32().Lesser(input.Limit{Most: 2 * int64(holds.largest), Why: fmt.Sprintf("its largest tensor has %d elements", holds.largest)})
	blocks := input.Limit{Most: int64(holds.tensors), Why: fmt.Sprintf("the folder has only %d tensors", holds.tensors)}
	for _, size := range []struct {
		name string
		n    int
		most input.Limit
	}{
		{"the number of layers", d.blocks, blocks},
		{"hidden_size", d.embed, widest}, {"intermediate_size", d.ff, widest}, {"num_attention_heads", d.heads, widest},
		{"head_dim", d.headDim, widest}, {"vocab_size", d.vocab, widest}, {"the number of experts", d.experts, widest},
	} {
		if _, err := input.Count("config.json: "+size.name, size.n, 0, size.most); err != nil {
			return fmt.Errorf("%w: %w", ErrInvalid, err)
		}
	}
	row, sizes, withExperts := f.row(), d.layerSizes(), 0
	for l := range min(d.blocks, maxOverlaps) {
		if row.Layer(sizes, l).HasExperts() {
			withExperts++
		}
	}
	switch {
	case !f.stacked && !d.fused && withExperts*d.experts > holds.tensors:
		return invalid("config.json gives %d layers of %d experts, the folder has only %d tensors", d.blocks, d.experts, holds.tensors)
	case d.heads%d.headsKV != 0:
		return invalid("config.json: %d attention heads are no multiple of %d key-value heads", d.heads, d.headsKV)
	case !d.explicitHeadDim && d.embed%d.heads != 0:
		return invalid("config.json: hidden_size %d is no multiple of %d attention heads", d.embed, d.heads)
	case d.headDim%2 != 0:
		return invalid("config.json: the head size %d is odd, rotation takes pairs", d.headDim)
	case d.used > d.experts+d.identity:
		return invalid("config.json: %d experts are used, there are %d", d.used, d.experts)
	}
	return nil
}
