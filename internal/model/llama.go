package model

import "qtool/internal/nn"

func configureLlama(k *keys, c *Config) {
	if c.Rope.Dims != c.HeadDim {
		refuseAs(ErrInvalid, "llama.rope.dimension_count is %d, but heads have %d dimensions", c.Rope.Dims, c.HeadDim)
	}
	k.routing(c, nn.RouterSpec{Normalize: true})
}
