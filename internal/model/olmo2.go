package model

import (
	"slices"

	"qtool/internal/nn"
)

// olmo2 norms the branches behind, not before. Layers with a window (Olmo 3)
// rotate without scaling.
var olmo2 = architecture{
	name:    "olmo2",
	models:  "OLMo 2, OLMo 3",
	pairing: nn.RopeNeox,
	configure: func(k *keys, c *Config) {
		k.slidingWindow(c, 0, 4)
		c.WindowRope.FreqScale, c.WindowRope.ExtFactor, c.WindowRope.AttnFactor = 1, 0, 1
	},
	norms:   postNorms,
	qkNorm:  wideQKNorm,
	head:    ownHead,
	targets: slices.Concat(endTargets, []string{"attn_q", "attn_k", "attn_v", "attn_output"}, ffnTargets),
}
