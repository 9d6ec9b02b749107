package model

import "qtool/internal/arch"

// configureOLMo2 reads the windows of OLMo 3, whose layers rotate without scaling where they
// have one.
func configureOLMo2(k *keys, c *Config) {
	k.slidingWindow(c, 0, arch.OLMo3Period)
	c.WindowRope.FreqScale, c.WindowRope.ExtFactor, c.WindowRope.AttnFactor = 1, 0, 1
}
