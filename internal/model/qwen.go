package model

import (
	"slices"

	"qtool/internal/nn"
)

var qwen2 = architecture{
	name:    "qwen2",
	models:  "Qwen2, Qwen2.5, DeepSeek-R1-Distill-Qwen",
	pairing: nn.RopeNeox,
	configure: func(k *keys, c *Config) {
		for _, heads := range c.Heads {
			if heads*c.HeadDim != c.Embedding {
				refuseAs(ErrInvalid, "qwen2 with %d heads of %d dimensions on an embedding of %d", heads, c.HeadDim, c.Embedding)
			}
		}
	},
	norms:   preNorms,
	biases:  []string{"output"},
	targets: slices.Concat(endTargets, attentionTargets, ffnTargets),
}

var qwen3 = architecture{
	name:    "qwen3",
	models:  "Qwen3",
	pairing: nn.RopeNeox,
	norms:   preNorms,
	qkNorm:  headQKNorm,
	targets: slices.Concat(endTargets, attentionTargets, ffnTargets),
}
