package model

import (
	"math"
	"slices"

	"qtool/internal/nn"
)

var gemma2 = architecture{
	name:    "gemma2",
	models:  "Gemma 2",
	pairing: nn.RopeNeox,
	configure: func(k *keys, c *Config) {
		k.slidingWindow(c, 4096, 2)
		c.WindowRope.Base = k.float("rope.freq_base_swa", c.Rope.Base)
		c.AttentionSoftcap = float32(k.float("attn_logit_softcapping", 50))
		c.LogitSoftcap = float32(k.float("final_logit_softcapping", 30))
		const layers27B = 46
		gemmaScales(c, layers27B)
	},
	norms:      prePostNorms,
	activation: nn.GeGLU,
	head:       tiedHead,
	targets:    slices.Concat(attentionTargets, ffnTargets),
}

// gemma3 scales positions in the layers without a window only.
var gemma3 = architecture{
	name:    "gemma3",
	models:  "Gemma 3 (text)",
	pairing: nn.RopeNeox,
	configure: func(k *keys, c *Config) {
		k.slidingWindow(c, 0, 6)
		c.WindowRope.Base, c.WindowRope.FreqScale = k.float("rope.freq_base_swa", 10000), 1
		c.LogitSoftcap = float32(k.float("final_logit_softcapping", 0))
		const layers27B = 62
		gemmaScales(c, layers27B)
	},
	norms:      prePostNorms,
	qkNorm:     headQKNorm,
	activation: nn.GeGLU,
	targets:    slices.Concat(endTargets, attentionTargets, ffnTargets),
}

// gemmaScales are those of the embedding and of attention, which in the model of
// 27B, known by its number of layers, has another divisor.
func gemmaScales(c *Config, layers27B int) {
	c.EmbeddingScale = float32(math.Sqrt(float64(c.Embedding)))
	if c.Layers == layers27B {
		c.AttentionScale = float32(1 / math.Sqrt(float64(c.Embedding/c.Heads[0])))
	}
}
