package model

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"qtool/internal/nn"
)

// architecture is one row of the table of what the decoder computes. What is
// zero is what most architectures do.
type architecture struct {
	name    string
	models  string // the families that use it, for people
	pairing nn.RopePairing
	// configure reads what is special to the architecture and checks it; may be nil.
	configure func(k *keys, c *Config)

	norms       normNames
	qkNorm      qkNorm
	activation  nn.Activation // SwiGLU if none
	fusedGateUp bool          // ffn_up holds the rows of gate, then those of up
	experts     bool          // may have experts in place of the dense block
	sharedGate  bool          // the shared expert is multiplied by a sigmoid
	choiceBias  bool          // a bias may take part in the choice of experts
	shortcut    bool          // experts of every other layer start beside its dense block, and end behind the next layer
	sinks       bool          // each head has a score that takes part in every softmax
	latent      bool          // keys and values are made of a latent of each token
	ropeFactors bool          // may divide rope angles by factors from a tensor
	head        headKind

	// biases are the weights, besides those of queries, keys and values, that
	// may come with one, by their short names.
	biases []string
	// targets are the weights whose LoRA pairs llama.cpp honours, and refused
	// those where it does not, with the reason; without "blk.N." and ".weight".
	targets []string
	refused map[string]string
}

// normNames are the norms of a block: before and behind attention and
// feed-forward, each of which may be missing.
type normNames struct{ attention, attentionOut, ffn, ffnOut string }

var (
	preNorms     = normNames{attention: "attn_norm", ffn: "ffn_norm"}
	postNorms    = normNames{attentionOut: "post_attention_norm", ffnOut: "post_ffw_norm"}
	prePostNorms = normNames{"attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm"}
	// preNormsRenamed are pre-norms of which one looks like a post-norm.
	preNormsRenamed = normNames{attention: "attn_norm", ffn: "post_attention_norm"}
)

// qkNorm says over what queries and keys are normed before they are rotated.
type qkNorm int

const (
	noQKNorm       qkNorm = iota
	headQKNorm            // each head
	optionalQKNorm        // each head, where the file has the weights
	wideQKNorm            // all heads of a token together
)

// headKind says where the matrix of the logits comes from.
type headKind int

const (
	anyHead headKind = iota // its own, or the embedding where there is none
	ownHead
	tiedHead
)

// Targets that most architectures honour.
var (
	attentionTargets = []string{"attn_q", "attn_k", "attn_v", "attn_qkv", "attn_output"}
	ffnTargets       = []string{"ffn_gate", "ffn_up", "ffn_down"}
	endTargets       = []string{"token_embd", "output"}
	expertTargets    = []string{"ffn_gate_inp", "ffn_gate_exps", "ffn_up_exps", "ffn_down_exps"}
	sharedTargets    = []string{"ffn_gate_shexp", "ffn_up_shexp", "ffn_down_shexp"}
)

// passedBy is why the weights that llama.cpp multiplies without looking for
// adapters take no pairs.
const passedBy = "llama.cpp multiplies it without looking for adapters, and ignores the pair"

// latentTargets are those of latent attention and its models.
var latentTargets = []string{"attn_q", "attn_q_a", "attn_q_b", "attn_kv_a_mqa", "attn_kv_b", "output"}

// refuse gives the same reason to all names.
func refuse(reason string, names ...string) map[string]string {
	m := map[string]string{}
	for _, name := range names {
		m[name] = reason
	}
	return m
}

var architectures = []architecture{
	llama, qwen2, qwen3, olmo2, gemma2, gemma3, phi3, granite, glm4, smollm3, seedOSS,
	qwen2moe, qwen3moe, olmoe, granitemoe, glm4moe, bailingmoe2, gptoss, deepseek2, longcat,
}

func findArchitecture(name string) (*architecture, error) {
	var known []string
	for i := range architectures {
		if architectures[i].name == name {
			return &architectures[i], nil
		}
		known = append(known, architectures[i].name)
	}
	return nil, fmt.Errorf("%w: architecture %q is not known; known are: %s", ErrUnsupported, name, strings.Join(known, ", "))
}

// whyRefused is the reason why inference does not apply a LoRA pair on the
// tensor; "" if it does.
func (a *architecture) whyRefused(tensor string) string {
	name := TargetName(tensor)
	if reason, ok := a.refused[name]; ok {
		return reason
	}
	if !slices.Contains(a.targets, name) {
		return passedBy
	}
	return ""
}

// TargetLayer is the layer of a tensor; -1 if it is of none.
func TargetLayer(tensor string) int {
	rest, ok := strings.CutPrefix(tensor, "blk.")
	number, _, _ := strings.Cut(rest, ".")
	if n, err := strconv.Atoi(number); ok && err == nil {
		return n
	}
	return -1
}

// TargetName is the short name of a tensor as users give it to choose targets:
// "attn_q" for "blk.3.attn_q.weight".
func TargetName(tensor string) string {
	name := strings.TrimSuffix(tensor, ".weight")
	if rest, ok := strings.CutPrefix(name, "blk."); ok {
		if _, after, ok := strings.Cut(rest, "."); ok {
			return after
		}
	}
	return name
}
