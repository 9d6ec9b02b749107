package model_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"qtool/fixtures"
	"qtool/gguf"
	"qtool/internal/model"
	"qtool/internal/sharedtest"
	"qtool/quantize"
)

// variants are options of published models that the reference models lack, and what
// llama.cpp computes of the tiny model of a family with them: the first logits of the
// last token.
var variants = []struct {
	name, family string
	set          map[string]gguf.Value
	logits       []float32
}{
	{"long factors", "phi3", map[string]gguf.Value{
		"phi3.rope.scaling.original_context_length": uint32(16), "phi3.rope.scaling.attn_factor": float32(1.25),
	}, []float32{-1.1253784, 0.84608394, -0.32380372, 0.58268535, 0.19470781, -0.58111668, -1.6132457, 0.93234473}},
	{"short factors", "phi3", map[string]gguf.Value{
		"phi3.rope.scaling.original_context_length": uint32(256), "phi3.rope.scaling.attn_factor": float32(1.25),
	}, []float32{-1.1544032, 1.06013, -0.97829473, 0.43361151, -0.11142339, -0.30146891, -1.3323237, 0.68287408}},
	{"yarn beside windows", "gemma3", yarn("gemma3", 4, 16, nil), []float32{0.73659587, -1.063718, 1.1941693, -0.077536479, -0.30754757, -0.59185582, 0.75580043, -0.39020258}},
	{"no windows", "gemma3", yarn("gemma3", 4, 16, map[string]gguf.Value{"gemma3.attention.sliding_window": uint32(0)}), []float32{-0.044119954, -3.5742669, 1.1480312, -0.76863801, -0.37265199, 1.3787569, 0.66123122, -0.84010077}},
	{"yarn beside windows", "gpt-oss", yarn("gpt-oss", 8, 16, nil), []float32{0.54841334, 0.62198359, -0.80046475, 0.5405212, 1.1335948, -2.4626455, 0.17740992, 0.52109623}},
	{"windows", "olmo2", yarn("olmo2", 4, 16, map[string]gguf.Value{
		"olmo2.attention.sliding_window": uint32(6), "olmo2.attention.sliding_window_pattern": uint32(2), "olmo2.rope.scaling.attn_factor": float32(1.1),
	}), []float32{0.35644805, -1.0418267, 0.19465174, -0.04262358, 0.63749743, 1.2011175, 0.33605567, -0.0045846254}},
	{"temperature", "deepseek2", map[string]gguf.Value{
		"deepseek2.attention.temperature_scale": float32(0.3), "deepseek2.attention.temperature_length": uint32(10),
	}, []float32{0.58398288, 1.4585612, 1.0842148, -0.87282974, 1.0734131, 0.020687461, -1.5520132, -1.066741}},
	{"softmax in groups", "deepseek2", map[string]gguf.Value{
		"deepseek2.expert_gating_func": uint32(1), "deepseek2.expert_weights_norm": false, "deepseek2.rope.scaling.yarn_log_multiplier": float32(0.1),
	}, []float32{1.1535958, -0.73728764, 0.0044931024, 0.00063404441, 0.90199101, -0.11671159, -1.483469, 0.033114374}},
	{"yarn", "longcat-flash", yarn("longcat-flash", 4, 16, map[string]gguf.Value{"longcat-flash.rope.scaling.attn_factor": float32(0.9)}), []float32{-0.73240036, 1.6175549, -1.9302341, 0.20188162, 2.0094638, 0.22668692, 0.49068743, -0.18013149}},
	{"weights as they are", "glm4moe", map[string]gguf.Value{"glm4moe.expert_weights_norm": false}, []float32{0.87783432, -0.10497519, 0.7298739, -0.11677614, 0.077624708, -0.1892859, 0.45081538, -1.0920343}},
	{"no rotation", "granite", map[string]gguf.Value{"granite.rope.scaling.finetuned": false}, []float32{0.0067728013, 0.05119431, 0.22009757, -0.33763096, -0.060084246, 0.21720539, 0.22461939, -0.22325134}},
	{"linear scaling", "smollm3", map[string]gguf.Value{"smollm3.rope.scaling.factor": float32(4)}, []float32{-0.74715412, 2.048986, 0.34995145, 0.55893892, -0.93902922, -0.51555765, 2.0918298, -0.80112654}},
	{"yarn of another magnitude", "qwen3moe", yarn("qwen3moe", 4, 16, map[string]gguf.Value{"qwen3moe.rope.scaling.attn_factor": float32(0.8)}), []float32{0.72245342, 0.54141027, -0.27066565, 0.16722605, 0.57625884, 0.92693305, -1.5509577, -0.34655994}},
}

// yarn adds YaRN scaling to keys.
func yarn(arch string, factor float32, original uint32, keys map[string]gguf.Value) map[string]gguf.Value {
	if keys == nil {
		keys = map[string]gguf.Value{}
	}
	keys[arch+".rope.scaling.type"], keys[arch+".rope.scaling.factor"] = "yarn", factor
	keys[arch+".rope.scaling.original_context_length"] = original
	return keys
}

// variantTokens reach beyond the windows and the original contexts.
func variantTokens() []int32 {
	ids := make([]int32, 40)
	for i := range ids {
		ids[i] = int32((i*i*7 + 11*i + 5) % 64)
	}
	return ids
}

// variantOf is the tiny model of a family with other keys. llama.cpp knows DeepSeek-V2-Lite,
// whose queries have no latent, by its 27 layers, which are repeated here.
func variantOf(family string, set map[string]gguf.Value) gguf.Model {
	m := fixtures.TinyFamily(3, family)
	m.Metadata().Set(family+".context_length", uint32(256))
	for key, value := range set {
		m.Metadata().Set(key, value)
	}
	tensors := slices.Clone(m.Tensors())
	if long, ok := m.Tensor("rope_factors_long.weight"); ok { // those for short texts are alike
		v, _ := quantize.Decode(long)
		for i := range v {
			v[i] *= 1.5
		}
		tensors[slices.Index(tensors, long)] = gguf.Float32Tensor(long.Name, long.Shape, v)
		return gguf.Assemble(m.Metadata(), tensors)
	}
	if family != "deepseek2" {
		return m
	}
	for l := 2; l < 27; l++ {
		for _, x := range m.Tensors() {
			if rest, ok := strings.CutPrefix(x.Name, "blk.1."); ok {
				y := *x
				y.Name = fmt.Sprintf("blk.%d.%s", l, rest)
				tensors = append(tensors, &y)
			}
		}
	}
	m.Metadata().Set("deepseek2.block_count", uint32(27))
	return gguf.Assemble(m.Metadata(), tensors)
}

func TestOptionsOfPublishedModelsGiveTheLogitsOfLlamaCpp(t *testing.T) {
	for _, v := range variants {
		t.Run(v.family+"/"+v.name, func(t *testing.T) {
			d, err := model.Load(variantOf(v.family, v.set), model.Options{})
			if err != nil {
				t.Fatal(err)
			}
			all := logits(t, d, variantTokens())
			got := all[len(all)-d.Vocabulary:][:len(v.logits)]
			tolerance := 1e-10
			if v.family == "gemma3" { // a last bit may round what gelu takes to the next float of 16
				tolerance = 1e-8
			}
			if e := sharedtest.NMSE(got, v.logits); !(e <= tolerance) {
				t.Errorf("NMSE %g: got %v", e, got)
			}
		})
	}
}
