package model

import (
	"slices"

	"qtool/internal/nn"
)

// longcat has two layers here for each of the model's own; the experts of a pair
// are those of its first layer.
var longcat = architecture{
	name:       "longcat-flash",
	models:     "LongCat-Flash",
	pairing:    nn.RopeNorm,
	configure:  configureLongCat,
	norms:      preNorms,
	experts:    true,
	choiceBias: true,
	shortcut:   true,
	latent:     true,
	targets:    slices.Concat([]string{"token_embd", "attn_output"}, ffnTargets),
	refused:    refuse(passedBy, slices.Concat(latentTargets, expertTargets)...),
}

func configureLongCat(k *keys, c *Config) {
	k.nextTokens(c)
	k.sharedExperts(c)
	k.latents(c)
	k.storedRouting(c, k.needInt("n_zero_experts"), nn.GateSoftmax)
	c.Latent.Scale = float32(k.float("attention.kv_lora_scale", 0))
	if s := k.float("attention.q_lora_scale", 0); s != 0 { // of queries: of scores as well
		c.AttentionScale *= float32(s)
	}
	switch {
	case c.Layers%2 != 0 || c.LeadingDense != 0 || c.Experts == 0:
		refuseAs(ErrInvalid, "%s comes in pairs of layers with experts, and this has %d layers, the first %d of them without, and %d experts", k.arch, c.Layers, c.LeadingDense, c.Experts)
	case c.SharedWidth != 0:
		refuseAs(ErrUnsupported, "%s with shared experts", k.arch)
	}
}
