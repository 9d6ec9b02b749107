package convert

import (
	"math"
	"reflect"
	"strings"
	"testing"

	"qtool/fixtures"
	"qtool/gguf"
	"qtool/safetensors"
)

// What llama.cpp's converter writes for options that published models have.
func TestOptionsBecomeTheKeysThatLlamaCppReads(t *testing.T) {
	factors := []any{1.0, 2.0, 3.0, 4.0}
	for _, c := range []struct {
		name, family string
		config       map[string]any
		want         map[string]gguf.Value // without the family; nil: not there
	}{
		{"one group", "glm4moe", map[string]any{"n_group": 1, "topk_group": 1, "norm_topk_prob": false}, map[string]gguf.Value{
			"expert_group_count": uint32(1), "expert_group_used_count": uint32(1), "expert_weights_norm": false,
		}},
		{"all groups", "deepseek2", map[string]any{"n_group": 4, "topk_group": 4}, map[string]gguf.Value{
			"expert_group_count": uint32(1), "expert_group_used_count": uint32(1),
		}},
		{"width of a shared expert", "bailingmoe2", map[string]any{"moe_shared_expert_intermediate_size": 16, "norm_topk_prob": false}, map[string]gguf.Value{
			"expert_shared_feed_forward_length": uint32(16), "vocab_size": uint32(64), "expert_weights_norm": false,
		}},
		{"windows with their own base", "gemma3", map[string]any{
			"rope_theta": nil, "rope_local_base_freq": nil, "rope_scaling": nil,
			"rope_parameters": map[string]any{
				"full_attention":    map[string]any{"rope_type": "linear", "factor": 8, "rope_theta": 1e6},
				"sliding_attention": map[string]any{"rope_type": "default", "rope_theta": 20000},
			},
		}, map[string]gguf.Value{
			"rope.freq_base": float32(1e6), "rope.freq_base_swa": float32(20000), "rope.scaling.factor": float32(8), "attention.sliding_window": uint32(6),
		}},
		{"no windows", "gemma3", map[string]any{"sliding_window_pattern": 1}, map[string]gguf.Value{"attention.sliding_window": nil}},
		{"no windows in a list", "gemma3", map[string]any{
			"sliding_window_pattern": nil, "layer_types": strings.Split(strings.Repeat(",full_attention", 6)[1:], ","),
		}, map[string]gguf.Value{"attention.sliding_window": nil}},
		{"windows by layer", "olmo2", map[string]any{"sliding_window": 6}, map[string]gguf.Value{
			"attention.sliding_window": uint32(6), "attention.sliding_window_pattern": []bool{true, true},
		}},
		{"long factors of yarn", "phi3", map[string]any{
			"original_max_position_embeddings": 32, "rope_scaling": map[string]any{"type": "yarn", "long_factor": factors, "short_factor": factors},
		}, map[string]gguf.Value{"rope.scaling.attn_factor": float32(1 + 0.1*math.Log(4)), "rope.scaling.type": nil}},
		{"magnitudes of yarn that cancel out", "qwen3", map[string]any{"rope_scaling": map[string]any{
			"rope_type": "yarn", "factor": 4, "original_max_position_embeddings": 32, "mscale": 1, "mscale_all_dim": 1,
		}}, map[string]gguf.Value{"rope.scaling.attn_factor": float32(1 / (1 + 0.1*math.Log(4))), "rope.scaling.yarn_log_multiplier": nil}},
		{"magnitude of yarn's scores", "longcat-flash", map[string]any{"mla_scale_q_lora": false, "rope_scaling": map[string]any{
			"rope_type": "yarn", "factor": 4, "original_max_position_embeddings": 32, "mscale": 1, "mscale_all_dim": 1,
		}}, map[string]gguf.Value{
			"rope.scaling.attn_factor": float32(1 / (1 + 0.1*math.Log(4))), "attention.q_lora_scale": float32(math.Pow(1+0.1*math.Log(4), 2)),
		}},
	} {
		t.Run(c.family+"/"+c.name, func(t *testing.T) {
			md := withConfig(folderOf(t, fixtures.TinyFamily(1, c.family), testSources[c.family]), c.config).open(t, 0).Metadata()
			for key, want := range c.want {
				key = c.family + "." + key
				if got, ok := md.Get(key); ok != (want != nil) || !reflect.DeepEqual(got, want) {
					t.Errorf("%s is %v, want %v", key, got, want)
				}
			}
		})
	}
}

func TestAFileWithExpertsInMXFP4SaysSo(t *testing.T) {
	const mxfp4 = 38
	m := opened(t, fixtures.TinyFolder(1, "GptOssForCausalLM", fixtures.FolderOptions{}), 0)
	if n, err := m.Metadata().Int("general.file_type"); n != mxfp4 {
		t.Errorf("general.file_type is %d (%v)", n, err)
	}
}

func TestATiedHeadIsStoredWhereTheArchitectureHasItsOwn(t *testing.T) {
	for _, name := range []string{"olmo2", "olmoe", "qwen2moe", "bailingmoe2"} {
		f := folderOf(t, fixtures.TinyFamily(1, name), testSources[name])
		f.remove(headTensor)
		f.config["tie_word_embeddings"] = true
		m := f.open(t, 0)
		if !reflect.DeepEqual(values(t, m, "output.weight"), values(t, m, "token_embd.weight")) {
			t.Errorf("%s: the head is not the embedding", name)
		}
		logitsOf(t, m)
	}
}

func TestALatentModelWithoutExpertsIsDenseInAllLayers(t *testing.T) {
	f := folderOf(t, fixtures.TinyFamily(1, "deepseek2"), testSources["deepseek2"])
	for _, field := range []string{"n_routed_experts", "num_experts_per_tok", "n_shared_experts", "first_k_dense_replace", "n_group", "topk_group", "scoring_func"} {
		delete(f.config, field)
	}
	f.config["num_hidden_layers"] = 1 // that without experts
	var kept []*safetensors.Tensor
	for _, x := range f.tensors {
		if !strings.HasPrefix(x.Name, "model.layers.1.") {
			kept = append(kept, x)
		}
	}
	f.tensors = kept
	m := f.open(t, 0)
	if n, err := m.Metadata().Int("deepseek2.leading_dense_block_count"); n != 1 {
		t.Errorf("%d layers are dense (%v)", n, err)
	}
	if m.Metadata().Has("deepseek2.expert_gating_func") {
		t.Error("experts are gated that are not there")
	}
	logitsOf(t, m)
}

// Trained gpt-oss models hold their experts in whole numbers: rows and columns are
// exchanged, and gate and up take turns in the columns.
func TestExpertsOfGPTOSSConvertInWholeNumbersToo(t *testing.T) {
	want := fixtures.TinyFamily(1, "gpt-oss")
	waiting := map[string][]float32{}
	s := testSource{
		architecture: "GptOssForCausalLM", config: map[string]any{"attention_bias": true},
		names: map[string]string{
			"attn_sinks.weight": "self_attn.sinks", "ffn_gate_inp": "mlp.router", "ffn_down_exps.bias": "mlp.experts.down_proj_bias",
		},
		keys: map[string]string{
			"num_local_experts": "expert_count", "num_experts_per_tok": "expert_used_count", "sliding_window": "attention.sliding_window",
			"intermediate_size": "expert_feed_forward_length",
		},
		arrange: func(put putter, prefix, name string, v []float32, shape []int) bool {
			part, kind, _ := strings.Cut(name, ".")
			if part == "ffn_down_exps" && kind == "weight" {
				put(prefix+"mlp.experts.down_proj", turned(v, shape), []int{shape[1], shape[0], shape[2]})
				return true
			}
			if part != "ffn_gate_exps" && part != "ffn_up_exps" {
				return false
			}
			width, to := shape[0], prefix+"mlp.experts.gate_up_proj_bias"
			if kind == "weight" {
				v, width, to = turned(v, shape), shape[1], prefix+"mlp.experts.gate_up_proj"
			}
			if part == "ffn_gate_exps" {
				waiting[to] = v
				return true
			}
			joined := make([]float32, 0, 2*len(v))
			for i := range v {
				joined = append(joined, waiting[to][i], v[i])
			}
			if kind == "weight" {
				put(to, joined, []int{2 * width, shape[0], shape[2]})
			} else {
				put(to, joined, []int{2 * width, shape[1]})
			}
			return true
		},
	}
	sameTensors(t, folderOf(t, want, s).open(t, 0), want, 0)
}

// turned exchanges rows and columns of each matrix [in, out, n].
func turned(v []float32, shape []int) []float32 {
	in, out := shape[0], shape[1]
	w := make([]float32, len(v))
	for at := range v {
		e, i, o := at/(in*out), at%in, at/in%out
		w[(e*in+i)*out+o] = v[at]
	}
	return w
}
