package model

import (
	"slices"

	"qtool/internal/nn"
)

var granite = architecture{
	name:        "granite",
	models:      "Granite 3",
	pairing:     nn.RopeNorm,
	configure:   configureGranite,
	norms:       preNorms,
	ropeFactors: true,
	biases:      []string{"attn_output", "ffn_gate", "ffn_up", "ffn_down"},
	targets:     slices.Concat(endTargets, attentionTargets, ffnTargets),
}

// configureGranite reads the four multipliers of Granite, and whether it rotates.
func configureGranite(k *keys, c *Config) {
	divisor := k.needFloat("logit_scale")
	if divisor == 0 {
		refuseAs(ErrInvalid, "%s.logit_scale is 0", k.arch)
	}
	c.LogitScale = float32(1 / divisor)
	c.ResidualScale = float32(k.float("residual_scale", 0))
	c.EmbeddingScale = float32(k.float("embedding_scale", 0))
	if s := k.float("attention.scale", 0); s != 0 {
		c.AttentionScale = float32(s)
	}
	if !k.bool("rope.scaling.finetuned", true) {
		c.Unrotated = slices.Repeat([]bool{true}, c.Layers)
	}
	if k.md.Has(k.arch + ".deepstack_mapping") {
		refuseAs(ErrUnsupported, "%s with images (%s.deepstack_mapping)", k.arch, k.arch)
	}
}
