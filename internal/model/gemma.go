package model

import (
	"math"

	"qtool/internal/arch"
)

func configureGemma2(k *keys, c *Config) {
	k.slidingWindow(c, 4096, k.row.Period)
	c.WindowRope.Base = k.float(arch.KeyRopeFreqBaseSWA, c.Rope.Base)
	c.AttentionSoftcap = float32(k.float(arch.KeyAttnLogitSoftcapping, 50))
	c.LogitSoftcap = float32(k.float(arch.KeyFinalLogitSoftcapping, 30))
	gemmaScales(c, arch.Gemma2Layers27B)
}

// configureGemma3 scales positions in the layers without a window only.
func configureGemma3(k *keys, c *Config) {
	k.slidingWindow(c, 0, k.row.Period)
	c.WindowRope.Base, c.WindowRope.FreqScale = k.float(arch.KeyRopeFreqBaseSWA, 10000), 1
	c.LogitSoftcap = float32(k.float(arch.KeyFinalLogitSoftcapping, 0))
	gemmaScales(c, arch.Gemma3Layers27B)
}

// gemmaScales are those of the embedding and of attention, which in the model of
// 27B, known by its number of layers, has another divisor.
func gemmaScales(c *Config, layers27B int) {
	c.EmbeddingScale = float32(math.Sqrt(float64(c.Embedding)))
	if len(c.Layers) == layers27B {
		c.AttentionScale = float32(1 / math.Sqrt(float64(c.Embedding/c.Layers[0].Heads)))
	}
}
