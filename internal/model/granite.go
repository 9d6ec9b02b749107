package model

import "qtool/internal/arch"

// configureGranite reads the four multipliers of Granite, and whether it rotates.
func configureGranite(k *keys, c *Config) {
	divisor := k.needFloat(arch.KeyLogitScale)
	if divisor == 0 {
		refuseAs(ErrInvalid, "%s.logit_scale is 0", k.arch)
	}
	c.LogitScale = float32(1 / divisor)
	c.ResidualScale = float32(k.float(arch.KeyResidualScale, 0))
	c.EmbeddingScale = float32(k.float(arch.KeyEmbeddingScale, 0))
	if s := k.float(arch.KeyAttentionScale, 0); s != 0 {
		c.AttentionScale = float32(s)
	}
	if !k.bool(arch.KeyRopeScalingFinetuned, true) {
		for l := range c.Layers {
			c.Layers[l].Unrotated = true
		}
	}
	if k.md.Has(k.arch + "." + arch.KeyDeepstackMapping) {
		refuseAs(ErrUnsupported, "%s with images (%s.deepstack_mapping)", k.arch, k.arch)
	}
}
