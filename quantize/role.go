package quantize

import (
	"strings"

	"qtool/gguf"
	"qtool/internal/arch"
)

// role is what a tensor does in the model, as far as the choice of its type cares.
type role int

const (
	other role = iota
	head       // the output head, or the embedding that serves as head
	embedding
	value // and everything fused with it: attn_qkv, attn_kv_b
	key
	query
	projection // attn_output
	gate
	up
	down
)

// roles finds a role by the first fragment that the tensor's name contains.
var roles = []struct {
	fragment string
	role     role
}{
	{"attn_qkv.weight", value},
	{"attn_kv_b.weight", value},
	{"attn_v.weight", value},
	{"attn_k.weight", key},
	{"attn_q.weight", query},
	{"attn_output.weight", projection},
	{"ffn_up", up},
	{"ffn_gate", gate},
	{"ffn_down", down},
}

func roleOf(name string) role {
	switch name {
	case arch.Output:
		return head
	case arch.TokenEmbedding, "per_layer_token_embd.weight":
		return embedding
	}
	for _, r := range roles {
		if strings.Contains(name, r.fragment) {
			return r.role
		}
	}
	return other
}

// keptNames are fragments of names of weights that stay as they are: small, or too
// sensitive.
var keptNames = []string{
	"_norm.weight",
	"ffn_gate_inp.weight", "ffn_gate_tid2eid.weight", // routers
	"altup", "laurel", "per_layer_model_proj",
	"position_embd", "token_types.weight",
	"ssm_conv1d", "shortconv.conv.weight",
	"indexer.k_proj.weight", "indexer.q_proj.weight",
	"time_mix_first.weight", "time_mix_w0.weight", "time_mix_w1.weight", "time_mix_w2.weight",
	"time_mix_v0.weight", "time_mix_v1.weight", "time_mix_v2.weight",
	"time_mix_a0.weight", "time_mix_a1.weight", "time_mix_a2.weight",
	"time_mix_g1.weight", "time_mix_g2.weight",
	"time_mix_decay_w1.weight", "time_mix_decay_w2.weight", "time_mix_lerp_fused.weight",
	"attn_rel_b.weight",
	"sam.pos_embd", "sam.neck.", "sam.net_", ".rel_pos", ".patch_embd", ".patch_merger", // vision
	"a.rvq.codebook", "mm.a.code_embd", // audio
}

// quantizable reports whether t is a weight matrix, or a stack of them, that a file
// type applies to. An empty one is carried along as it is.
func quantizable(t *gguf.Tensor) bool {
	if t.Rows() < 2 || t.Elements() == 0 || !strings.HasSuffix(t.Name, "weight") || !isFloat(t.Type) {
		return false
	}
	for _, fragment := range keptNames {
		if strings.Contains(t.Name, fragment) {
			return false
		}
	}
	return true
}

// isFloat reports whether t stores weights, quantized or not: not an integer, and
// something that can be read.
func isFloat(t gguf.Type) bool {
	switch t {
	case gguf.I8, gguf.I16, gguf.I32:
		return false
	}
	return codecOf(t) != nil
}
