package model

import "qtool/internal/arch"

// configureSmolLM3 leaves the last layer of each period without rotation.
func configureSmolLM3(_ *keys, c *Config) {
	c.Unrotated = make([]bool, c.Layers)
	for l := range c.Unrotated {
		c.Unrotated[l] = (l+1)%arch.SmolLM3Period == 0
	}
}
