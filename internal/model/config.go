package model

import (
	"math"
	"slices"

	"qtool/internal/arch"
	"qtool/internal/nn"
)

// Config is what the decoder must know of a model, as read from its metadata.
type Config struct {
	Architecture string
	Name         string
	Vocabulary   int // rows of the embedding
	Context      int // tokens the model was trained for
	Embedding    int // width of the residual stream
	Layers       []LayerConfig
	NormEpsilon  float32

	HeadDim, ValueDim int

	Experts, ExpertsUsed int // 0 without experts
	Router               nn.RouterSpec
	LeadingDense         int // the first layers have no experts
	ExpertWidth          int // of an expert's block; 0: the layer's FeedForwardWidth
	SharedWidth          int // of the shared expert; 0: there is none

	Latent LatentSpec // where keys and values are made of latents

	Rope nn.RopeOptions
	// LongRope chooses between two sets of rope factors by the context in use.
	LongRope bool

	// Window is how many tokens the windowed layers see; these rotate by WindowRope. It is
	// 0 where all layers see all tokens.
	Window     int
	WindowRope nn.RopeOptions

	AttentionScale float32 // of queries times keys
	// Temperature multiplies them too, by the query's position.
	Temperature      Temperature
	AttentionSoftcap float32 // bounds them; 0 is off
	// These multiply the embedding, what a block adds to the residual stream,
	// and the logits; 0 means 1.
	EmbeddingScale, ResidualScale, LogitScale float32
	LogitSoftcap                              float32 // bounds the logits; 0 is off

	// SkippedLayers is the number of layers after those that the file holds for other
	// purposes than decoding.
	SkippedLayers int
}

// LayerConfig is what one layer of a model may have of its own.
type LayerConfig struct {
	Kind             arch.Layer // of what it is made
	Heads, KVHeads   int
	FeedForwardWidth int  // of the dense block or of one expert
	Unrotated        bool // positions are not encoded
	Windowed         bool // it sees only Config.Window tokens
}

// llama.cpp takes no more than these.
const (
	maxLayers  = 512
	maxExperts = 512
)

// maxHeadDim is far more than any model has: the angles of each dimension are computed
// before the weights of the heads are looked at.
const maxHeadDim = 1 << 16

// common reads the keys that all architectures share.
func (k *keys) common() *Config {
	c := &Config{
		Architecture: k.arch,
		Context:      k.needInt(arch.KeyContextLength),
		Embedding:    k.needInt(arch.KeyEmbeddingLength),
		Layers:       make([]LayerConfig, k.layers()),
		NormEpsilon:  float32(k.needFloat(arch.KeyAttentionLayerNormRMSEpsilon)),
		Experts:      k.int(arch.KeyExpertCount, 0),
		ExpertsUsed:  k.int(arch.KeyExpertUsedCount, 0),
	}
	c.Name, _ = k.md.Str("general.name")
	heads := k.perLayer(arch.KeyAttentionHeadCount, len(c.Layers), nil)
	kvHeads := k.perLayer(arch.KeyAttentionHeadCountKV, len(c.Layers), heads)
	widths := k.perLayer(arch.KeyFeedForwardLength, len(c.Layers), nil)
	for l := range c.Layers {
		c.Layers[l] = LayerConfig{Heads: heads[l], KVHeads: kvHeads[l], FeedForwardWidth: widths[l]}
	}
	if !k.bool(arch.KeyAttentionCausal, true) {
		refuseAs(ErrUnsupported, "attention that sees the tokens after it (%s.%s)", k.arch, arch.KeyAttentionCausal)
	}
	if !(c.NormEpsilon >= 0) {
		refuseAs(ErrInvalid, "%s.attention.layer_norm_rms_epsilon is %g", k.arch, c.NormEpsilon)
	}
	if heads[0] == 0 {
		refuseAs(ErrInvalid, "%s.%s of the first layer is 0", k.arch, arch.KeyAttentionHeadCount)
	}
	perHead := c.Embedding / heads[0]
	c.HeadDim = k.int(arch.KeyAttentionKeyLength, perHead)
	c.ValueDim = k.int(arch.KeyAttentionValueLength, perHead)
	if c.HeadDim < 1 || c.ValueDim < 1 || c.HeadDim > maxHeadDim {
		refuseAs(ErrInvalid, "heads have %d dimensions and values %d, expected 1 to %d", c.HeadDim, c.ValueDim, maxHeadDim)
	}
	if c.ExpertsUsed > c.Experts || c.Experts > 0 && c.ExpertsUsed == 0 || c.Experts > maxExperts {
		refuseAs(ErrInvalid, "%d of %d experts are used per token; llama.cpp takes %d at most", c.ExpertsUsed, c.Experts, maxExperts)
	}
	c.Rope = k.rope(c)
	c.AttentionScale = float32(1 / math.Sqrt(float64(c.HeadDim)))
	return c
}

// layers is the number of layers, which bounds what is stored of each.
func (k *keys) layers() int {
	n := k.needInt(arch.KeyBlockCount)
	if n > maxLayers {
		refuseAs(ErrInvalid, "%s.block_count is %d; llama.cpp takes %d layers at most", k.arch, n, maxLayers)
	}
	return n
}

// rope reads the position embedding and resolves its scaling as llama.cpp's
// context does with default parameters.
func (k *keys) rope(c *Config) nn.RopeOptions {
	o := nn.RopeOptions{
		Dims:            k.int(arch.KeyRopeDimensionCount, c.HeadDim),
		Base:            k.float(arch.KeyRopeFreqBase, 10000),
		FreqScale:       1,
		AttnFactor:      1,
		BetaFast:        32,
		BetaSlow:        1,
		OriginalContext: k.int(arch.KeyRopeScalingOriginalContextLength, c.Context),
	}
	if o.Dims%2 != 0 || o.Dims <= 0 || o.Dims > c.HeadDim || !(o.Base > 0) {
		refuseAs(ErrInvalid, "rotary embedding of %d dimensions with base %g on heads of %d", o.Dims, o.Base, c.HeadDim)
	}
	kind := k.string(arch.KeyRopeScalingType, "linear")
	if factor := k.float(arch.KeyRopeScalingFactor, k.float(arch.KeyRopeScaleLinear, 0)); factor > 0 {
		o.FreqScale = 1 / factor
	} else if factor < 0 {
		refuseAs(ErrInvalid, "%s.rope.scaling.factor is %g", k.arch, factor)
	}
	switch kind {
	case "none":
		o.FreqScale = 1
	case "linear":
	case "longrope":
		c.LongRope = true
	case "yarn":
		o.ExtFactor = 1
		// The rotation itself multiplies by 1 + 0.1 ln(factor), which llama.cpp
		// wants for stretching only.
		if f := 1 / o.FreqScale; f < 1 {
			o.AttnFactor = 1 / (1 + 0.1*math.Log(f))
		}
	default:
		refuseAs(ErrUnsupported, "rope scaling %q; known are none, linear, yarn and longrope", kind)
	}
	o.AttnFactor *= k.float(arch.KeyRopeScalingAttnFactor, 1)
	return o
}

// Temperature grows with the logarithm of a position, in steps of Length tokens:
// 1 + Scale·ln(1 + floor(position/Length)). A Scale of 0 turns it off.
type Temperature struct {
	Scale  float64
	Length int
}

// at is the temperature of each position, in the memory of out.
func (t Temperature) at(positions []int32, out []float32) []float32 {
	out = slices.Grow(out[:0], len(positions))[:len(positions)]
	for i, p := range positions {
		out[i] = float32(1 + t.Scale*math.Log(float64(1+int(p)/t.Length)))
	}
	return out
}
