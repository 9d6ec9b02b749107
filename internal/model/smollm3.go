package model

import "qtool/internal/arch"

// configureSmolLM3 leaves the last layer of each period without rotation.
func configureSmolLM3(_ *keys, c *Config) {
	for l := range c.Layers {
		c.Layers[l].Unrotated = (l+1)%arch.SmolLM3Period == 0
	}
}
