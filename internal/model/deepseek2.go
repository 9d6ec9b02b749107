package model

import (
	"math"
	"slices"

	"qtool/internal/nn"
)

var deepseek2 = architecture{
	name:       "deepseek2",
	models:     "DeepSeek-V2, V2-Lite, V2.5, V3, R1, Kimi-K2, GLM-4.7-Flash, Mistral-Large-3",
	pairing:    nn.RopeNorm,
	configure:  configureDeepSeek2,
	norms:      preNorms,
	experts:    true,
	choiceBias: true,
	latent:     true,
	targets: slices.Concat([]string{"token_embd", "attn_output", "ffn_gate_up_exps"},
		ffnTargets, expertTargets, sharedTargets),
	refused: refuse(passedBy, latentTargets...),
}

func configureDeepSeek2(k *keys, c *Config) {
	k.nextTokens(c)
	k.sharedExperts(c)
	k.latents(c)
	k.storedRouting(c, 0, k.deepSeekGating(c))
	c.Temperature = Temperature{k.float("attention.temperature_scale", 0), k.int("attention.temperature_length", 0)}
	if c.Temperature.Scale != 0 && c.Temperature.Length == 0 {
		refuseAs(ErrInvalid, "%s.attention.temperature_scale is %g, but there is no temperature_length", k.arch, c.Temperature.Scale)
	}
	// As in llama.cpp, which stores a tenth of mscale_all_dim: the scores are
	// multiplied by the square of what YaRN adds to sine and cosine.
	logFactor := math.Log(1 / c.Rope.FreqScale)
	multiplier := k.float("rope.scaling.yarn_log_multiplier", 0) / 0.1
	if multiplier != 0 && c.Rope.ExtFactor != 0 { // sine and cosine keep their size
		c.Rope.AttnFactor = k.float("rope.scaling.attn_factor", 1) / (1 + 0.1*logFactor)
	}
	m := c.Rope.AttnFactor * (1 + 0.1*logFactor) * (1 + 0.1*multiplier*logFactor)
	c.AttentionScale *= float32(m * m)
}

// deepSeekGating is the gating of files that do not say it.
func (k *keys) deepSeekGating(c *Config) nn.Gating {
	const glmFlashVocabulary = 154880
	if tokens, err := k.md.Strings("tokenizer.ggml.tokens"); err == nil && len(tokens) == glmFlashVocabulary && (c.Layers == 47 || c.Layers == 48) {
		return nn.GateSigmoid
	}
	return nn.GateSoftmax
}
