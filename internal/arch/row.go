package arch

import "slices"

// Row is what is known of one architecture. What is zero is what most architectures have.
type Row struct {
	Name   string // under [KeyArchitecture]
	Models string // the families that use it, for people

	Rotation    Rotation
	Norms       Norms
	QKNorm      QKNorm
	Activation  Activation
	Head        Head
	FusedQKV    bool // files have queries, keys and values in one tensor, attn_qkv
	FusedGateUp bool // ffn_up holds the rows of gate, then those of up
	Sinks       bool // each head has a score that takes part in every softmax
	RopeFactors bool // files may have a tensor of divisors of the rope angles
	Experts     bool // layers may have experts
	SharedGate  bool // the shared expert is multiplied by a sigmoid
	ChoiceBias  bool // a bias may take part in the choice of experts

	// Mixers are those that some layer has; nil is [Attention] alone.
	Mixers []Mixer
	// LayerRule says of what layer l is made; nil: the first of Mixers, and experts, if the
	// model has any, in all layers but the leading dense ones.
	LayerRule func(s *Sizes, l int) Layer
	// Period says that every Period-th layer is of another kind (it has no window), where
	// files need not say so; 0: files say it, or there is none.
	Period int

	// Biases are the weights, besides those of queries, keys and values, that may come with
	// a bias, by their short names; see [ShortName].
	Biases []string
	// Targets are the weights whose LoRA pairs llama.cpp honours, by their short names, and
	// Refused those where it does not, with the reason.
	Targets []string
	Refused map[string]string
	// PreTokenizers are the values of tokenizer.ggml.pre that models of the architecture
	// have. They go before others that cut text alike.
	PreTokenizers []string
}

// Rotation says which two elements of a head rotary position embedding turns together.
type Rotation int

const (
	RotateNeighbours Rotation = iota // elements 2k and 2k+1
	RotateHalves                     // elements k and k + half of those that rotate
)

// Norms are the norms of a layer by their short names: before and after the mixer and the
// feed-forward, "" where there is none.
type Norms struct{ Mixer, MixerOut, FeedForward, FeedForwardOut string }

var (
	preNorms     = Norms{Mixer: "attn_norm", FeedForward: "ffn_norm"}
	postNorms    = Norms{MixerOut: "post_attention_norm", FeedForwardOut: "post_ffw_norm"}
	prePostNorms = Norms{"attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm"}
	// preNormsRenamed are pre-norms, the second of which is named like a post-norm.
	preNormsRenamed = Norms{Mixer: "attn_norm", FeedForward: "post_attention_norm"}
)

// Names lists the norms that there are.
func (n Norms) Names() []string {
	return slices.DeleteFunc([]string{n.Mixer, n.MixerOut, n.FeedForward, n.FeedForwardOut}, func(s string) bool { return s == "" })
}

// QKNorm says over what queries and keys are normed before they are rotated.
type QKNorm int

const (
	NoQKNorm       QKNorm = iota
	HeadQKNorm            // each head
	OptionalQKNorm        // each head, in the models that have the weights
	WideQKNorm            // all heads of a token together
)

// Activation joins gate and up of a feed-forward.
type Activation int

const (
	SwiGLU        Activation = iota // silu(gate)·up
	GeGLU                           // gelu(gate)·up, gelu in its tanh form
	ClampedSwiGLU                   // silu(1.702·gate)/1.702·(up+1), both bounded to ±7
)

// Head says where the matrix of the logits comes from.
type Head int

const (
	AnyHead  Head = iota // its own, or the embedding where there is none
	OwnHead              // its own
	TiedHead             // the embedding
)

// Mixer is how a layer mixes the tokens of a document.
type Mixer int

const (
	Attention       Mixer = iota // query heads share key heads
	LatentAttention              // keys and values are made of a latent of each token (MLA)
)

// FeedForward is what a layer computes of each token by itself.
type FeedForward int

const (
	Dense   FeedForward = iota
	Experts             // some of many blocks, chosen for each token
	// DenseBesideExperts is a dense block, and experts of the same input whose result is
	// added after the next layer.
	DenseBesideExperts
)

// Layer is of what one layer is made.
type Layer struct {
	Mixer       Mixer
	FeedForward FeedForward
}

// HasExperts reports whether the layer has experts.
func (l Layer) HasExperts() bool { return l.FeedForward != Dense }

// HasDense reports whether it has a dense block.
func (l Layer) HasDense() bool { return l.FeedForward != Experts }

// Layer says of what layer l of a model with sizes s is made.
func (r *Row) Layer(s *Sizes, l int) Layer {
	if r.LayerRule != nil {
		return r.LayerRule(s, l)
	}
	var layer Layer
	if len(r.Mixers) > 0 {
		layer.Mixer = r.Mixers[0]
	}
	if s.Experts > 0 && l >= s.LeadingDense {
		layer.FeedForward = Experts
	}
	return layer
}

// Has reports whether some layer has mixer m.
func (r *Row) Has(m Mixer) bool {
	return slices.Contains(r.Mixers, m) || m == Attention && len(r.Mixers) == 0
}

// MayHaveBias reports whether the weight of a short name may come with a bias.
func (r *Row) MayHaveBias(weight string) bool {
	return slices.Contains(projections, weight) || slices.Contains(r.Biases, weight)
}

// projections may come with a bias in all architectures.
var projections = []string{"attn_q", "attn_k", "attn_v", "attn_qkv"}

// WhyRefused is the reason why llama.cpp does not apply a LoRA pair on the weight of a short
// name; "" if it does.
func (r *Row) WhyRefused(weight string) string {
	if reason, ok := r.Refused[weight]; ok {
		return reason
	}
	if !slices.Contains(r.Targets, weight) {
		return PassedBy
	}
	return ""
}

// Sizes are what rules ask of a model to say of what its layers are made.
type Sizes struct {
	Experts      int // of a layer that has some; 0 without
	LeadingDense int // the first layers have no experts
}

// Find is the row of an architecture; nil if the table does not have it.
func Find(name string) *Row {
	for i := range rows {
		if rows[i].Name == name {
			return rows[i]
		}
	}
	return nil
}

// All lists the architectures.
func All() []*Row { return slices.Clone(rows) }
