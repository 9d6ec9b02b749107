package model

import (
	"qtool/internal/arch"
	"qtool/internal/nn"
)

func configureLongCat(k *keys, c *Config) {
	k.nextTokens(c)
	k.sharedExperts(c)
	k.latents(c)
	k.storedRouting(c, k.needInt(arch.KeyNZeroExperts), nn.GateSoftmax)
	c.Latent.Scale = float32(k.float(arch.KeyAttentionKVLoraScale, 0))
	if s := k.float(arch.KeyAttentionQLoraScale, 0); s != 0 { // of queries: of scores as well
		c.AttentionScale *= float32(s)
	}
	switch {
	case len(c.Layers)%2 != 0 || c.LeadingDense != 0 || c.Experts == 0:
		refuseAs(ErrInvalid, "%s has an even number of layers, every other with experts, and this has %d layers, the first %d of them without, and %d experts", k.arch, len(c.Layers), c.LeadingDense, c.Experts)
	case c.SharedWidth != 0:
		refuseAs(ErrUnsupported, "%s with shared experts", k.arch)
	}
}
