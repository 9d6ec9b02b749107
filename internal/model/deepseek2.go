package model

import (
	"math"

	"qtool/internal/arch"
	"qtool/internal/nn"
)

func configureDeepSeek2(k *keys, c *Config) {
	k.nextTokens(c)
	k.sharedExperts(c)
	k.latents(c)
	k.storedRouting(c, 0, k.deepSeekGating(c))
	c.Temperature = Temperature{k.float(arch.KeyAttentionTemperatureScale, 0), k.int(arch.KeyAttentionTemperatureLength, 0)}
	if c.Temperature.Scale != 0 && c.Temperature.Length == 0 {
		refuseAs(ErrInvalid, "%s.attention.temperature_scale is %g, but there is no temperature_length", k.arch, c.Temperature.Scale)
	}
	// As in llama.cpp, which stores a tenth of mscale_all_dim: the scores are
	// multiplied by the square of what YaRN adds to sine and cosine.
	logFactor := math.Log(1 / c.Rope.FreqScale)
	multiplier := k.float(arch.KeyRopeScalingYarnLogMultiplier, 0) / 0.1
	if multiplier != 0 && c.Rope.ExtFactor != 0 { // sine and cosine keep their size
		c.Rope.AttnFactor = k.float(arch.KeyRopeScalingAttnFactor, 1) / (1 + 0.1*logFactor)
	}
	m := c.Rope.AttnFactor * (1 + 0.1*logFactor) * (1 + 0.1*multiplier*logFactor)
	c.AttentionScale *= float32(m * m)
}

// deepSeekGating is the gating of files that do not say it.
func (k *keys) deepSeekGating(c *Config) nn.Gating {
	const glmFlashVocabulary = 154880
	if tokens, err := k.md.Strings("tokenizer.ggml.tokens"); err == nil && len(tokens) == glmFlashVocabulary && (len(c.Layers) == 47 || len(c.Layers) == 48) {
		return nn.GateSigmoid
	}
	return nn.GateSoftmax
}
