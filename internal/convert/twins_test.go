package convert

import (
	"cmp"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"qtool/gguf"
	"qtool/internal/sharedtest"
	"qtool/safetensors"
)

// testSource says how a Hugging Face folder of a family differs from one of Llama.
// It is written from the models' own code, not from the table under test.
type testSource struct {
	architecture string
	names        map[string]string // of a block's tensors, "" to fall back on sourceNames
	config       map[string]any
	keys         map[string]string        // config fields that hold a key of GGUF
	neighbours   bool                     // GGUF rotates neighbours, the folder halves
	shift        float32                  // what GGUF's norms have more
	rename       func(name string) string // of the whole name, if not nil
	// adjust bends the config that follows from the keys; may be nil.
	adjust func(config map[string]any)
	// arrange puts tensors that are cut or joined; it reports whether it did.
	arrange func(put putter, prefix, name string, v []float32, shape []int) bool
}

type putter func(name string, values []float32, shape []int)

// sourceNames are the names that most families share.
var sourceNames = map[string]string{
	"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm", "post_attention_norm": "post_attention_layernorm",
	"post_ffw_norm": "post_feedforward_layernorm",
	"attn_q":        "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
	"attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm", "attn_qkv": "self_attn.qkv_proj",
	"ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
}

var testSources = map[string]testSource{
	"llama": {
		architecture: "MixtralForCausalLM", neighbours: true, arrange: mixtralExperts, names: map[string]string{"ffn_gate_inp": "block_sparse_moe.gate"},
		keys: map[string]string{"num_local_experts": "expert_count", "num_experts_per_tok": "expert_used_count"},
	},
	"qwen2":    {architecture: "Qwen2ForCausalLM"},
	"qwen3":    {architecture: "Qwen3ForCausalLM"},
	"olmo2":    {architecture: "Olmo2ForCausalLM"},
	"smollm3":  {architecture: "SmolLM3ForCausalLM", neighbours: true, config: map[string]any{"no_rope_layers": []int{1, 1, 1, 0}}},
	"seed_oss": {architecture: "SeedOssForCausalLM", config: map[string]any{"attention_bias": true, "attention_out_bias": false}},
	"gemma2": {
		architecture: "Gemma2ForCausalLM", shift: 1, names: map[string]string{"ffn_norm": "pre_feedforward_layernorm"},
		config: map[string]any{"hidden_act": "gelu_pytorch_tanh", "hidden_activation": "gelu_pytorch_tanh", "tie_word_embeddings": true},
		keys: map[string]string{
			"sliding_window": "attention.sliding_window", "attn_logit_softcapping": "attn_logit_softcapping",
			"final_logit_softcapping": "final_logit_softcapping",
		},
	},
	"gemma3": {
		architecture: "Gemma3ForCausalLM", shift: 1, names: map[string]string{"ffn_norm": "pre_feedforward_layernorm"},
		config: map[string]any{"hidden_act": "gelu_pytorch_tanh", "sliding_window_pattern": 6, "rope_local_base_freq": 10000.0},
		keys:   map[string]string{"sliding_window": "attention.sliding_window"},
	},
	"phi3": {architecture: "Phi3ForCausalLM", names: map[string]string{"ffn_up": "mlp.gate_up_proj"}},
	"granite": {architecture: "GraniteForCausalLM", neighbours: true, keys: map[string]string{
		"attention_multiplier": "attention.scale", "embedding_multiplier": "embedding_scale",
		"residual_multiplier": "residual_scale", "logits_scaling": "logit_scale",
	}},
	"glm4": {
		architecture: "Glm4ForCausalLM",
		config:       map[string]any{"attention_bias": true, "partial_rotary_factor": 0.5},
		names: map[string]string{
			"post_attention_norm": "post_self_attn_layernorm", "post_ffw_norm": "post_mlp_layernorm", "ffn_up": "mlp.gate_up_proj",
		},
	},
	"qwen2moe": {
		architecture: "Qwen2MoeForCausalLM", arrange: separateExperts,
		names: map[string]string{
			"ffn_gate_inp": "mlp.gate", "ffn_gate_inp_shexp": "mlp.shared_expert_gate", "ffn_gate_shexp": "mlp.shared_expert.gate_proj",
			"ffn_up_shexp": "mlp.shared_expert.up_proj", "ffn_down_shexp": "mlp.shared_expert.down_proj",
		},
		config: map[string]any{"norm_topk_prob": false, "decoder_sparse_step": 1, "mlp_only_layers": []int{}, "shared_expert_intermediate_size": 96},
		keys:   map[string]string{"num_experts": "expert_count", "num_experts_per_tok": "expert_used_count", "moe_intermediate_size": "expert_feed_forward_length", "shared_expert_intermediate_size": "expert_shared_feed_forward_length"},
	},
	"qwen3moe": {
		architecture: "Qwen3MoeForCausalLM", arrange: separateExperts, names: map[string]string{"ffn_gate_inp": "mlp.gate"},
		config: map[string]any{"norm_topk_prob": true},
		keys:   map[string]string{"num_experts": "expert_count", "num_experts_per_tok": "expert_used_count", "moe_intermediate_size": "expert_feed_forward_length"},
	},
	"olmoe": {
		architecture: "OlmoeForCausalLM", arrange: separateExperts, names: map[string]string{"ffn_gate_inp": "mlp.gate"},
		config: map[string]any{"norm_topk_prob": false, "clip_qkv": nil},
		keys:   map[string]string{"num_experts": "expert_count", "num_experts_per_tok": "expert_used_count"},
	},
	"granitemoe": {
		architecture: "GraniteMoeSharedForCausalLM", neighbours: true, arrange: joinedHalves(),
		names: map[string]string{
			"ffn_gate_inp": "block_sparse_moe.router.layer", "ffn_down_exps": "block_sparse_moe.output_linear", "ffn_down_shexp": "shared_mlp.output_linear",
		},
		keys: map[string]string{
			"num_local_experts": "expert_count", "num_experts_per_tok": "expert_used_count", "shared_intermediate_size": "expert_shared_feed_forward_length",
			"attention_multiplier": "attention.scale", "embedding_multiplier": "embedding_scale",
			"residual_multiplier": "residual_scale", "logits_scaling": "logit_scale",
		},
	},
	"glm4moe": {
		architecture: "Glm4MoeForCausalLM", arrange: separateExperts,
		names: map[string]string{
			"ffn_gate_inp": "mlp.gate", "ffn_gate_shexp": "mlp.shared_experts.gate_proj", "ffn_up_shexp": "mlp.shared_experts.up_proj",
			"ffn_down_shexp": "mlp.shared_experts.down_proj", "exp_probs_b.bias": "mlp.gate.e_score_correction_bias",
		},
		config: map[string]any{"attention_bias": true, "use_qk_norm": true, "partial_rotary_factor": 0.5, "n_group": 1, "topk_group": 1},
		keys:   routedKeys,
	},
	"longcat-flash": {
		architecture: "LongcatFlashForCausalLM", rename: longcatName, arrange: latentsAndExperts(),
		names: map[string]string{
			"attn_q_a": "self_attn.q_a_proj", "attn_q_a_norm": "self_attn.q_a_layernorm", "attn_q_b": "self_attn.q_b_proj",
			"attn_kv_a_mqa": "self_attn.kv_a_proj_with_mqa", "attn_kv_a_norm": "self_attn.kv_a_layernorm",
			"ffn_gate_inp": "mlp.router.classifier", "exp_probs_b.bias": "mlp.router.e_score_correction_bias",
		},
		config: map[string]any{"mla_scale_q_lora": true, "mla_scale_kv_lora": true},
		keys: map[string]string{
			"n_routed_experts": "expert_count", "moe_topk": "expert_used_count", "expert_ffn_hidden_size": "expert_feed_forward_length",
			"routed_scaling_factor": "expert_weights_scale", "zero_expert_num": "n_zero_experts",
			"q_lora_rank": "attention.q_lora_rank", "kv_lora_rank": "attention.kv_lora_rank", "v_head_dim": "attention.value_length_mla",
			"qk_rope_head_dim": "rope.dimension_count", "qk_nope_head_dim": "attention.key_length_mla",
		},
		adjust: func(config map[string]any) {
			config["qk_nope_head_dim"] = config["qk_nope_head_dim"].(uint32) - config["qk_rope_head_dim"].(uint32)
			config["num_layers"] = config["num_hidden_layers"].(uint32) / 2
			config["ffn_hidden_size"] = config["intermediate_size"]
			delete(config, "num_hidden_layers")
			delete(config, "intermediate_size")
			delete(config, "num_key_value_heads")
			delete(config, "head_dim")
		},
	},
	"deepseek2": {
		architecture: "DeepseekV3ForCausalLM", arrange: latentsAndExperts(),
		names: map[string]string{
			"attn_q_a": "self_attn.q_a_proj", "attn_q_a_norm": "self_attn.q_a_layernorm", "attn_q_b": "self_attn.q_b_proj",
			"attn_kv_a_mqa": "self_attn.kv_a_proj_with_mqa", "attn_kv_a_norm": "self_attn.kv_a_layernorm",
			"ffn_gate_inp": "mlp.gate", "ffn_gate_shexp": "mlp.shared_experts.gate_proj", "ffn_up_shexp": "mlp.shared_experts.up_proj",
			"ffn_down_shexp": "mlp.shared_experts.down_proj", "exp_probs_b.bias": "mlp.gate.e_score_correction_bias",
		},
		keys: with(routedKeys, map[string]string{
			"q_lora_rank": "attention.q_lora_rank", "kv_lora_rank": "attention.kv_lora_rank", "v_head_dim": "attention.value_length_mla",
			"qk_rope_head_dim": "rope.dimension_count", "qk_nope_head_dim": "attention.key_length_mla",
			"scoring_func": "expert_gating_func", "n_group": "expert_group_count", "topk_group": "expert_group_used_count",
		}),
		adjust: func(config map[string]any) {
			config["qk_nope_head_dim"] = config["qk_nope_head_dim"].(uint32) - config["qk_rope_head_dim"].(uint32)
			config["num_key_value_heads"] = config["num_attention_heads"]
			config["scoring_func"] = map[any]string{uint32(1): "softmax", uint32(2): "sigmoid", nil: "softmax"}[config["scoring_func"]]
			delete(config, "head_dim")
		},
	},
	"bailingmoe2": {
		architecture: "BailingMoeV2ForCausalLM", arrange: separateExperts,
		names: map[string]string{
			"token_embd": "model.word_embeddings", "attn_qkv": "attention.query_key_value", "attn_output": "attention.dense",
			"attn_q_norm": "attention.query_layernorm", "attn_k_norm": "attention.key_layernorm",
			"ffn_gate_inp": "mlp.gate", "ffn_gate_shexp": "mlp.shared_experts.gate_proj", "ffn_up_shexp": "mlp.shared_experts.up_proj",
			"ffn_down_shexp": "mlp.shared_experts.down_proj", "exp_probs_b.bias": "mlp.gate.expert_bias",
		},
		config: map[string]any{"score_function": "sigmoid", "use_qk_norm": true, "partial_rotary_factor": 0.5, "n_group": 1, "topk_group": 1},
		keys:   routedKeys,
	},
}

// expertSource is the prefix of the tensors of the experts where each has its own.
const expertSource = "mlp.experts."

// separateExperts puts each expert by itself.
func separateExperts(put putter, prefix, name string, v []float32, shape []int) bool {
	return expertsApart(put, prefix+expertSource, []string{"gate_proj", "up_proj", "down_proj"}, name, v, shape)
}

func mixtralExperts(put putter, prefix, name string, v []float32, shape []int) bool {
	return expertsApart(put, prefix+"block_sparse_moe.experts.", []string{"w1", "w3", "w2"}, name, v, shape)
}

// expertsApart puts each expert by itself; parts are what gate, up and down are called.
func expertsApart(put putter, prefix string, parts []string, name string, v []float32, shape []int) bool {
	i := slices.Index([]string{"ffn_gate_exps.weight", "ffn_up_exps.weight", "ffn_down_exps.weight"}, name)
	if i < 0 {
		return false
	}
	one := shape[0] * shape[1]
	for e := range shape[2] {
		put(fmt.Sprintf("%s%d.%s.weight", prefix, e, parts[i]), v[e*one:][:one], shape[:2])
	}
	return true
}

// joinedHalves puts the rows of gate and of up of each expert into one tensor. The
// gate, which comes first, waits for the other.
func joinedHalves() func(put putter, prefix, name string, v []float32, shape []int) bool {
	waiting := map[string][]float32{}
	return func(put putter, prefix, name string, v []float32, shape []int) bool {
		target := ""
		switch name {
		case "ffn_gate_exps.weight", "ffn_up_exps.weight":
			target = prefix + "block_sparse_moe.input_linear.weight"
		case "ffn_gate_shexp.weight", "ffn_up_shexp.weight":
			target = prefix + "shared_mlp.input_linear.weight"
		default:
			return false
		}
		other, ok := waiting[target]
		if !ok {
			waiting[target] = v
			return true
		}
		delete(waiting, target)
		one := shape[0] * shape[1]
		var joined []float32
		for at := 0; at < len(v); at += one {
			first, second := other[at:][:one], v[at:][:one]
			if strings.Contains(name, "gate") {
				first, second = second, first
			}
			joined = append(append(joined, first...), second...)
		}
		shape = slices.Clone(shape)
		shape[1] *= 2
		put(target, joined, shape)
		return true
	}
}

// with is a map of both.
func with(a, b map[string]string) map[string]string {
	both := maps.Clone(a)
	maps.Copy(both, b)
	return both
}

// latentsAndExperts puts what makes the keys and the values of each head into one
// tensor, and each expert by itself. The keys, which come first, wait for the values.
func latentsAndExperts() func(put putter, prefix, name string, v []float32, shape []int) bool {
	var keys []float32
	return func(put putter, prefix, name string, v []float32, shape []int) bool {
		switch name {
		case "attn_k_b.weight":
			keys = v
		case "attn_v_b.weight":
			rank, value, heads := shape[0], shape[1], shape[2]
			plain := len(keys) / rank / heads
			var joined []float32
			for h := range heads {
				for i := range plain {
					for r := range rank {
						joined = append(joined, keys[(h*rank+r)*plain+i])
					}
				}
				joined = append(joined, v[h*value*rank:][:value*rank]...)
			}
			put(prefix+"self_attn.kv_b_proj.weight", joined, []int{rank, heads * (plain + value)})
		default:
			return separateExperts(put, prefix, name, v, shape)
		}
		return true
	}
}

// longcatName numbers what a layer of LongCat has twice.
func longcatName(name string) string {
	var block int
	if n, _ := fmt.Sscanf(name, "model.layers.%d.", &block); n == 0 {
		return name
	}
	rest := strings.SplitN(name, ".", 4)[3]
	j := fmt.Sprint(block % 2)
	for _, twice := range []string{"input_layernorm.", "post_attention_layernorm.", "self_attn."} {
		rest = strings.Replace(rest, twice, twice+j+".", 1)
	}
	for _, twice := range []string{"mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"} {
		rest = strings.Replace(rest, twice, strings.Replace(twice, "mlp.", "mlps."+j+".", 1), 1)
	}
	return fmt.Sprintf("model.layers.%d.%s", block/2, rest)
}

// routedKeys are the fields of families that store how experts are chosen.
var routedKeys = map[string]string{
	"n_routed_experts": "expert_count", "num_experts_per_tok": "expert_used_count", "moe_intermediate_size": "expert_feed_forward_length",
	"n_shared_experts": "expert_shared_count", "first_k_dense_replace": "leading_dense_block_count",
	"routed_scaling_factor": "expert_weights_scale", "norm_topk_prob": "expert_weights_norm",
}

// sharedKeys are the fields that all families have.
var sharedKeys = map[string]string{
	"hidden_size": "embedding_length", "num_attention_heads": "attention.head_count", "num_key_value_heads": "attention.head_count_kv",
	"head_dim": "attention.key_length", "intermediate_size": "feed_forward_length", "num_hidden_layers": "block_count",
	"max_position_embeddings": "context_length", "rope_theta": "rope.freq_base", "rms_norm_eps": "attention.layer_norm_rms_epsilon",
}

// folderOf turns a GGUF model back to a folder of its family.
func folderOf(t *testing.T, m gguf.Model, s testSource) *folder {
	t.Helper()
	f := newFolder(safetensors.F32)
	f.config = map[string]any{"architectures": []string{s.architecture}, "hidden_act": "silu"}
	withConfig(f, s.config)
	arch, _ := m.Metadata().Str("general.architecture")
	keys := maps.Clone(sharedKeys)
	maps.Copy(keys, s.keys)
	for field, key := range keys {
		if v, ok := m.Metadata().Get(arch + "." + key); ok {
			f.config[field] = v
		}
	}
	embedding, _ := m.Tensor("token_embd.weight")
	_, untied := m.Tensor("output.weight")
	f.config["vocab_size"], f.config["tie_word_embeddings"] = embedding.Shape[1], !untied
	f.config["rope_scaling"] = scalingOf(t, m, arch)
	if s.adjust != nil {
		s.adjust(f.config)
	}
	put := func(name string, values []float32, shape []int) {
		if strings.Contains(name, expertSource) && !slices.ContainsFunc(values, func(v float32) bool { return v != 0 }) {
			return // an expert of zeros, which folders do not hold
		}
		if s.rename != nil {
			name = s.rename(name)
		}
		shape = slices.Clone(shape)
		slices.Reverse(shape)
		f.tensors = append(f.tensors, &safetensors.Tensor{Name: name, Shape: shape, DType: safetensors.F32, Data: encodeF32(values)})
	}
	globals := map[string]string{
		"token_embd.weight": cmp.Or(s.names["token_embd"], "model.embed_tokens") + ".weight", "output.weight": headTensor, "output.bias": "lm_head.bias", "output_norm.weight": "model.norm.weight",
	}
	inBlock := regexp.MustCompile(`^blk\.(\d+)\.((\w+)\.(weight|bias))$`)
	for _, x := range m.Tensors() {
		v := values(t, m, x.Name)
		if strings.HasSuffix(x.Name, "_norm.weight") {
			for i := range v {
				v[i] -= s.shift
			}
		}
		if strings.HasPrefix(x.Name, "rope_") {
			continue
		}
		if name, ok := globals[x.Name]; ok {
			put(name, v, x.Shape)
			continue
		}
		part := inBlock.FindStringSubmatch(x.Name)
		prefix := "model.layers." + part[1] + "."
		if s.arrange != nil && s.arrange(put, prefix, part[2], v, x.Shape) {
			continue
		}
		if name := s.names[part[2]]; name != "" { // with its ending, where that differs
			put(prefix+name, v, x.Shape)
			continue
		}
		name := s.names[part[3]]
		if name == "" {
			name = sourceNames[part[3]]
		}
		if name == "" {
			t.Fatalf("the test does not know %s", x.Name)
		}
		if s.neighbours && (part[3] == "attn_q" || part[3] == "attn_k") {
			heads, _ := m.Metadata().Int(arch + ".attention.head_count")
			if part[3] == "attn_k" {
				heads, _ = m.Metadata().Int(arch + ".attention.head_count_kv")
			}
			v = halved(v, heads, len(v)/x.Shape[len(x.Shape)-1])
		}
		shape := x.Shape
		if part[3] == "ffn_gate_inp_shexp" {
			shape = []int{shape[0], 1} // PyTorch keeps the axis
		}
		put(prefix+name+"."+part[4], v, shape)
	}
	return f
}

// scalingOf is the rope_scaling of a model.
func scalingOf(t *testing.T, m gguf.Model, arch string) map[string]any {
	if long, ok := m.Tensor("rope_factors_long.weight"); ok {
		return map[string]any{
			"type": "longrope", "long_factor": values(t, m, long.Name), "short_factor": values(t, m, "rope_factors_short.weight"),
		}
	}
	kind, err := m.Metadata().Str(arch + ".rope.scaling.type")
	if err != nil {
		return nil
	}
	factor, _ := m.Metadata().Float(arch + ".rope.scaling.factor")
	original, _ := m.Metadata().Int(arch + ".rope.scaling.original_context_length")
	scaling := map[string]any{"type": kind, "factor": factor, "original_max_position_embeddings": original}
	if m, err := m.Metadata().Float(arch + ".rope.scaling.yarn_log_multiplier"); err == nil {
		scaling["mscale_all_dim"] = m * 10
	}
	return scaling
}

// twins are the reference's models of a family.
func twins(t *testing.T, family string) map[string]gguf.Model {
	out := map[string]gguf.Model{}
	files, err := fs.Glob(os.DirFS(sharedtest.Path(t, "golden/archs")), "*.gguf")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, ".lora.gguf") {
			continue
		}
		f, err := gguf.Open(sharedtest.Path(t, "golden/archs/"+name))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		// GGUF does not hold what the factors of Llama 3's rotation were computed from.
		_, computed := f.Tensor("rope_freqs.weight")
		if arch, _ := f.Metadata().Str("general.architecture"); arch == family && !computed {
			out[name] = f
		}
	}
	return out
}

// halved is the inverse of interleaved.
func halved(src []float32, heads, width int) []float32 {
	d := len(src) / heads / width
	out := make([]float32, len(src))
	for r := range heads {
		for k := range d {
			to := k/2 + k%2*(d/2)
			copy(out[(r*d+to)*width:][:width], src[(r*d+k)*width:])
		}
	}
	return out
}
