package arch

import "slices"

var rows = []*Row{
	&llama, &qwen2, &qwen3, &olmo2, &gemma2, &gemma3, &phi3, &granite, &glm4, &smollm3, &seedOSS,
	&qwen2moe, &qwen3moe, &olmoe, &granitemoe, &glm4moe, &bailingmoe2, &gptOSS, &deepseek2, &longcatFlash,
}

// Targets that most architectures honour.
var (
	attentionTargets = []string{"attn_q", "attn_k", "attn_v", "attn_qkv", "attn_output"}
	ffnTargets       = []string{"ffn_gate", "ffn_up", "ffn_down"}
	endTargets       = []string{"token_embd", "output"}
	expertTargets    = []string{"ffn_gate_inp", "ffn_gate_exps", "ffn_up_exps", "ffn_down_exps"}
	sharedTargets    = []string{"ffn_gate_shexp", "ffn_up_shexp", "ffn_down_shexp"}

	// latentTargets are those of latent attention and its models.
	latentTargets = []string{"attn_q", "attn_q_a", "attn_q_b", "attn_kv_a_mqa", "attn_kv_b", "output"}
)

// Reasons why llama.cpp does not apply a pair.
const (
	PassedBy = "llama.cpp multiplies it without looking for adapters, and ignores the pair"
	// GLMCrash is that of the matrices that GLM multiplies in full precision.
	GLMCrash = "llama.cpp asks for full precision there, and stops with an assertion when an adapter is added"
	// NVFP4Crash and ScaledTwice are those of feed-forward weights with a separate scale.
	NVFP4Crash  = "it is NVFP4 with a separate scale, and llama.cpp dies on a pair on such a weight"
	ScaledTwice = "it has a separate scale, by which llama.cpp would multiply the pair too"
)

// refuse gives the same reason to all names.
func refuse(reason string, names ...string) map[string]string {
	m := map[string]string{}
	for _, name := range names {
		m[name] = reason
	}
	return m
}

// Layers by which models of special treatment are known.
const (
	Gemma2Layers27B = 46 // its scores have another divisor
	Gemma3Layers27B = 62 // likewise
)

// Periods of layers of another kind that only some models of an architecture have, or that
// count another property than a window.
const (
	OLMo3Period   = 4 // the last layer of each has no window
	SmolLM3Period = 4 // the last layer of each does not rotate
)

var llama = Row{
	Name:          "llama",
	Models:        "Llama 1 to 3, Mistral, Mixtral, TinyLlama, SmolLM2",
	Norms:         preNorms,
	Experts:       true,
	RopeFactors:   true,
	Biases:        []string{"attn_output", "ffn_gate", "ffn_up", "ffn_down"},
	Targets:       slices.Concat(endTargets, attentionTargets, ffnTargets, expertTargets),
	PreTokenizers: []string{"llama-bpe", "smollm", "refact", "smaug-bpe", "megrez"},
}

var qwen2 = Row{
	Name:          "qwen2",
	Models:        "Qwen2, Qwen2.5, DeepSeek-R1-Distill-Qwen",
	Rotation:      RotateHalves,
	Norms:         preNorms,
	Biases:        []string{"output"},
	Targets:       slices.Concat(endTargets, attentionTargets, ffnTargets),
	PreTokenizers: []string{"qwen2", "deepseek-r1-qwen", "a.x-4.0"},
}

var qwen3 = Row{
	Name:          "qwen3",
	Models:        "Qwen3",
	Rotation:      RotateHalves,
	Norms:         preNorms,
	QKNorm:        HeadQKNorm,
	Targets:       slices.Concat(endTargets, attentionTargets, ffnTargets),
	PreTokenizers: []string{"qwen2"},
}

var olmo2 = Row{
	Name:          "olmo2",
	Models:        "OLMo 2, OLMo 3",
	Rotation:      RotateHalves,
	Norms:         postNorms,
	QKNorm:        WideQKNorm,
	Head:          OwnHead,
	Targets:       slices.Concat(endTargets, []string{"attn_q", "attn_k", "attn_v", "attn_output"}, ffnTargets),
	PreTokenizers: []string{"dbrx", "superbpe"},
}

var gemma2 = Row{
	Name:       "gemma2",
	Models:     "Gemma 2",
	Rotation:   RotateHalves,
	Norms:      prePostNorms,
	Activation: GeGLU,
	Head:       TiedHead,
	Period:     2,
	Targets:    slices.Concat(attentionTargets, ffnTargets),
}

var gemma3 = Row{
	Name:       "gemma3",
	Models:     "Gemma 3 (text)",
	Rotation:   RotateHalves,
	Norms:      prePostNorms,
	QKNorm:     HeadQKNorm,
	Activation: GeGLU,
	Period:     6,
	Targets:    slices.Concat(endTargets, attentionTargets, ffnTargets),
}

var phi3 = Row{
	Name:          "phi3",
	Models:        "Phi-3, Phi-3.5-mini, Phi-4, Phi-4-mini",
	Rotation:      RotateHalves,
	Norms:         preNorms,
	FusedQKV:      true,
	FusedGateUp:   true,
	RopeFactors:   true,
	Targets:       slices.Concat(endTargets, attentionTargets, []string{"ffn_up", "ffn_down"}),
	PreTokenizers: []string{"dbrx", "gpt-4o"},
}

var granite = Row{
	Name:          "granite",
	Models:        "Granite 3",
	Norms:         preNorms,
	RopeFactors:   true,
	Biases:        []string{"attn_output", "ffn_gate", "ffn_up", "ffn_down"},
	Targets:       slices.Concat(endTargets, attentionTargets, ffnTargets),
	PreTokenizers: []string{"refact"},
}

var glm4 = Row{
	Name:          "glm4",
	Models:        "GLM-4-0414, GLM-Z1",
	Norms:         prePostNorms,
	FusedGateUp:   true,
	Targets:       slices.Concat(endTargets, []string{"attn_q", "attn_k", "attn_v", "attn_qkv", "ffn_up"}),
	Refused:       refuse(GLMCrash, "attn_output", "ffn_down"),
	PreTokenizers: []string{"glm4"},
}

var smollm3 = Row{
	Name:          "smollm3",
	Models:        "SmolLM3",
	Norms:         preNorms,
	Targets:       slices.Concat(endTargets, attentionTargets, ffnTargets),
	PreTokenizers: []string{"llama-bpe"},
}

var seedOSS = Row{
	Name:          "seed_oss",
	Models:        "Seed-OSS",
	Rotation:      RotateHalves,
	Norms:         preNormsRenamed,
	Targets:       slices.Concat(endTargets, attentionTargets, ffnTargets),
	PreTokenizers: []string{"seed-coder"},
}

var qwen2moe = Row{
	Name:          "qwen2moe",
	Models:        "Qwen1.5-MoE, Qwen2-57B-A14B",
	Rotation:      RotateHalves,
	Norms:         preNorms,
	Experts:       true,
	SharedGate:    true,
	Head:          OwnHead,
	Targets:       slices.Concat(endTargets, attentionTargets, expertTargets, sharedTargets, []string{"ffn_gate_inp_shexp"}),
	PreTokenizers: []string{"qwen2"},
}

var qwen3moe = Row{
	Name:          "qwen3moe",
	Models:        "Qwen3-30B-A3B, Qwen3-235B-A22B",
	Rotation:      RotateHalves,
	Norms:         preNorms,
	QKNorm:        HeadQKNorm,
	Experts:       true,
	Targets:       slices.Concat(endTargets, attentionTargets, expertTargets),
	PreTokenizers: []string{"qwen2"},
}

var olmoe = Row{
	Name:          "olmoe",
	Models:        "OLMoE",
	Rotation:      RotateHalves,
	Norms:         preNorms,
	QKNorm:        WideQKNorm,
	Experts:       true,
	Head:          OwnHead,
	Targets:       slices.Concat(endTargets, []string{"attn_q", "attn_k", "attn_v", "attn_output"}, expertTargets),
	PreTokenizers: []string{"olmo"},
}

var granitemoe = Row{
	Name:          "granitemoe",
	Models:        "Granite 3 MoE",
	Norms:         preNorms,
	Experts:       true,
	RopeFactors:   true,
	Biases:        []string{"attn_output"},
	Targets:       slices.Concat(endTargets, attentionTargets, expertTargets, sharedTargets),
	PreTokenizers: []string{"refact"},
}

var glm4moe = Row{
	Name:       "glm4moe",
	Models:     "GLM-4.5, GLM-4.5-Air, GLM-4.6, Solar-Open",
	Rotation:   RotateHalves,
	Norms:      preNormsRenamed,
	QKNorm:     OptionalQKNorm,
	Experts:    true,
	ChoiceBias: true,
	Targets: slices.Concat(endTargets, []string{"attn_q", "attn_k", "attn_v", "attn_qkv", "ffn_gate", "ffn_up"},
		expertTargets, []string{"ffn_gate_shexp", "ffn_up_shexp"}),
	Refused:       refuse(GLMCrash, "attn_output", "ffn_down", "ffn_down_shexp"),
	PreTokenizers: []string{"glm4"},
}

var bailingmoe2 = Row{
	Name:          "bailingmoe2",
	Models:        "Ling 2, Ring 2",
	Rotation:      RotateHalves,
	Norms:         preNorms,
	QKNorm:        HeadQKNorm,
	FusedQKV:      true,
	Experts:       true,
	ChoiceBias:    true,
	Head:          OwnHead,
	Targets:       slices.Concat(endTargets, attentionTargets, ffnTargets, expertTargets, sharedTargets),
	PreTokenizers: []string{"bailingmoe2"},
}

var gptOSS = Row{
	Name:       "gpt-oss",
	Models:     "gpt-oss-20b, gpt-oss-120b",
	Rotation:   RotateHalves,
	Norms:      preNormsRenamed,
	Activation: ClampedSwiGLU,
	Experts:    true,
	Sinks:      true,
	Head:       OwnHead,
	Period:     2,
	Biases:     []string{"attn_output", "ffn_gate_inp", "ffn_gate_exps", "ffn_up_exps", "ffn_down_exps"},
	Targets:    slices.Concat(endTargets, attentionTargets, expertTargets),
}

var deepseek2 = Row{
	Name:       "deepseek2",
	Models:     "DeepSeek-V2, V2-Lite, V2.5, V3, R1, Kimi-K2, GLM-4.7-Flash, Mistral-Large-3",
	Mixers:     []Mixer{LatentAttention},
	Norms:      preNorms,
	Experts:    true,
	ChoiceBias: true,
	Targets: slices.Concat([]string{"token_embd", "attn_output", "ffn_gate_up_exps"},
		ffnTargets, expertTargets, sharedTargets),
	Refused:       refuse(PassedBy, latentTargets...),
	PreTokenizers: []string{"deepseek-llm", "deepseek-v3", "gigachat", "kanana2", "youtu"},
}

// longcatFlash has two layers here for each of the model's own; the experts of a pair are
// those of its first layer.
var longcatFlash = Row{
	Name:   "longcat-flash",
	Models: "LongCat-Flash",
	Mixers: []Mixer{LatentAttention},
	LayerRule: func(_ *Sizes, l int) Layer {
		if l%2 == 0 {
			return Layer{LatentAttention, DenseBesideExperts}
		}
		return Layer{LatentAttention, Dense}
	},
	Norms:      preNorms,
	Experts:    true,
	ChoiceBias: true,
	Targets:    slices.Concat([]string{"token_embd", "attn_output"}, ffnTargets),
	Refused:    refuse(PassedBy, slices.Concat(latentTargets, expertTargets)...),
}
