package convert

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	"qtool/gguf"
	"qtool/internal/tokenizer"
	"qtool/safetensors"
)

func TestWhatIsNotHandledIsRefusedByName(t *testing.T) {
	rope := func(kv map[string]any) map[string]any { return map[string]any{"rope_scaling": kv} }
	for name, c := range map[string]struct {
		change map[string]any
		says   string
	}{
		"architecture":   {map[string]any{"architectures": []string{"GPTBigCodeForCausalLM"}}, "GPTBigCodeForCausalLM is not handled; these are: BailingMoeV2ForCausalLM, "},
		"quantized":      {map[string]any{"quantization_config": map[string]any{"quant_method": "gptq"}}, "gptq"},
		"activation":     {map[string]any{"hidden_act": "relu"}, "relu"},
		"rope kind":      {rope(map[string]any{"type": "longrope", "factor": 2}), "longrope"},
		"rope factor":    {rope(map[string]any{"type": "linear"}), "must be positive"},
		"partial rotary": {map[string]any{"partial_rotary_factor": 0.5}, "0.5"},
	} {
		_, err := Open(withConfig(denseFolder(safetensors.F32, false), c.change).write(t, 0))
		if !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: the error does not say %q: %v", name, c.says, err)
		}
	}
}

func TestAFolderThatContradictsItselfIsRefused(t *testing.T) {
	const q = "model.layers.1.self_attn.q_proj.weight"
	for name, c := range map[string]struct {
		change func(*folder)
		says   string
	}{
		"missing tensor":      {func(f *folder) { f.remove(q) }, q + `", needed for "blk.1.attn_q.weight", is missing`},
		"missing head":        {func(f *folder) { f.remove("lm_head.weight") }, `needed for "output.weight"`},
		"missing bias":        {func(f *folder) { f.config["attention_bias"] = true }, "q_proj.bias"},
		"unexpected tensor":   {func(f *folder) { f.add("model.extra.weight", 2) }, "model.extra.weight"},
		"too many layers":     {func(f *folder) { f.config["num_hidden_layers"] = 1 << 30 }, "the number of layers is 1073741824"},
		"fewer layers":        {func(f *folder) { f.config["num_hidden_layers"] = 1 }, "model.layers.1."},
		"too many experts":    {func(f *folder) { f.config["num_local_experts"], f.config["num_experts_per_tok"] = 1<<30, 2 }, "experts"},
		"other shape":         {func(f *folder) { f.config["intermediate_size"] = 9 }, "has shape [10 16], config.json gives [9 16]"},
		"field missing":       {func(f *folder) { delete(f.config, "hidden_size") }, `"hidden_size" is missing`},
		"field not a number":  {func(f *folder) { f.config["hidden_size"] = "16" }, `"hidden_size": expected an integer`},
		"field not whole":     {func(f *folder) { f.config["hidden_size"] = 1.5 }, "found 1.5"},
		"field zero":          {func(f *folder) { f.config["num_attention_heads"] = 0 }, "found 0"},
		"heads do not divide": {func(f *folder) { f.config["num_key_value_heads"] = 3 }, "no multiple of 3"},
		"vast head":           {func(f *folder) { llama3(f); f.config["head_dim"] = 1 << 30 }, "head_dim is 1073741824"},
		"odd head":            {func(f *folder) { f.config["head_dim"] = 5 }, "is odd"},
		"more tokens":         {func(f *folder) { shrinkVocab(f) }, "token id 9, but vocab_size in config.json is 4"},
		"no architectures":    {func(f *folder) { delete(f.config, "architectures") }, "list of names"},
		"integer weights": {func(f *folder) {
			f.remove(q)
			f.dtype = safetensors.I8
			f.add(q, testHeads*testHead, testEmbed)
		}, "stored as I8"},
	} {
		f := denseFolder(safetensors.F32, false)
		c.change(f)
		_, err := Open(f.write(t, 0))
		if !isMarked(err) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: the error is of no kind or does not say %q: %v", name, c.says, err)
		}
	}
}

func llama3(f *folder) { f.config["rope_scaling"] = map[string]any{"rope_type": "llama3"} }

func isMarked(err error) bool {
	return errors.Is(err, ErrInvalid) || errors.Is(err, ErrUnsupported) || errors.Is(err, tokenizer.ErrInvalid)
}

func TestAFolderThatIsNoneSaysSo(t *testing.T) {
	_, err := Open(t.TempDir())
	if !errors.Is(err, fs.ErrNotExist) || !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "no Hugging Face folder") {
		t.Error(err)
	}
}

func shrinkVocab(f *folder) {
	f.config["vocab_size"] = 4
	for _, name := range []string{"model.embed_tokens.weight", "lm_head.weight"} {
		f.remove(name)
		f.add(name, 4, testEmbed)
	}
}

func TestConstantsOfOldWritersAreIgnored(t *testing.T) {
	f := denseFolder(safetensors.F32, false)
	f.add("model.layers.0.self_attn.rotary_emb.inv_freq", testHead/2)
	f.open(t, 0)
}

func TestTitlesKeepVersionsAndCapitals(t *testing.T) {
	for id, want := range map[string]string{
		"tiny-llama-v1.1": "Tiny Llama v1.1", "Meta-Llama-3.1-8B": "Meta Llama 3.1 8B", "mistral-7b-instruct": "Mistral 7b Instruct",
		"smolLM": "smolLM", "x_y": "X_Y",
	} {
		if got := title(id); got != want {
			t.Errorf("%q became %q, want %q", id, got, want)
		}
	}
}

func TestSizeLabelsKeepTwoDigits(t *testing.T) {
	for n, want := range map[float64]string{
		656_000: "656K", 1_100_000_000: "1.1B", 8_030_000_000: "8.0B", 70_600_000_000: "71B", 999: "1.0K", 300: "0.30K", 1.2e12: "1.2T",
	} {
		if got := rounded(n); got != want {
			t.Errorf("%v became %q, want %q", n, got, want)
		}
	}
	experts := []*gguf.Tensor{{Name: "blk.0.ffn_up_exps.weight", Shape: []int{1000, 500, 8}}, {Name: "x.weight", Shape: []int{500_000}}}
	if got := sizeLabel(experts); got != "8x1000K" {
		t.Errorf("experts: %q", got)
	}
}
