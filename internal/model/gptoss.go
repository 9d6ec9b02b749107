package model

import (
	"qtool/internal/arch"
	"qtool/internal/nn"
)

func configureGPTOSS(k *keys, c *Config) {
	c.ExpertWidth = k.needInt(arch.KeyExpertFeedForwardLength)
	k.needInt(arch.KeyExpertCount)
	k.needInt(arch.KeyAttentionSlidingWindow)
	k.slidingWindow(c, 0, k.row.Period)
	c.WindowRope.Base = k.float(arch.KeyRopeFreqBaseSWA, c.Rope.Base)
	k.routing(c, nn.RouterSpec{Gating: nn.GateChosen})
	if c.Rope.Dims != c.HeadDim {
		refuseAs(ErrInvalid, "%s.rope.dimension_count is %d, but heads have %d dimensions", k.arch, c.Rope.Dims, c.HeadDim)
	}
}
