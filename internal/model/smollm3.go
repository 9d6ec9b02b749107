package model

import (
	"slices"

	"qtool/internal/nn"
)

// smollm3 does not rotate in every fourth layer.
var smollm3 = architecture{
	name:    "smollm3",
	models:  "SmolLM3",
	pairing: nn.RopeNorm,
	configure: func(_ *keys, c *Config) {
		c.Unrotated = make([]bool, c.Layers)
		for l := 3; l < c.Layers; l += 4 {
			c.Unrotated[l] = true
		}
	},
	norms:   preNorms,
	targets: slices.Concat(endTargets, attentionTargets, ffnTargets),
}
