package model

import (
	"slices"

	"qtool/internal/arch"
)

// What several, but not all architectures read of their metadata.

// slidingWindow reads the window, whose length is def where the file does not
// say (0: no window), and which layers have it: all but the last of each period,
// which a file may list layer by layer too.
// They rotate as the others do until the caller says otherwise.
func (k *keys) slidingWindow(c *Config, def, period int) {
	c.Window = k.int(arch.KeyAttentionSlidingWindow, def)
	if c.Window == 0 {
		return
	}
	const pattern = arch.KeyAttentionSlidingWindowPattern
	listed, err := k.md.Ints(k.arch + "." + pattern)
	if err != nil {
		period = k.int(pattern, period)
	}
	for l := range c.Layers {
		c.Layers[l].Windowed = period == 0 || l%period < period-1
	}
	if err == nil && !slices.EqualFunc(listed, c.Layers, func(n int, layer LayerConfig) bool { return (n != 0) == layer.Windowed }) {
		refuseAs(ErrUnsupported, "%s.%s is a list that differs from a window in all but every %dth layer, which llama.cpp takes whatever the list says", k.arch, pattern, period)
	}
	c.WindowRope = c.Rope
}

// nextTokens leaves out the blocks at the end that predict tokens further ahead.
func (k *keys) nextTokens(c *Config) {
	n := k.int(arch.KeyNextNPredictLayers, 0)
	if n >= len(c.Layers) {
		refuseAs(ErrInvalid, "%s.nextn_predict_layers is %d of %d blocks", k.arch, n, len(c.Layers))
	}
	c.Layers, c.SkippedLayers = c.Layers[:len(c.Layers)-n], n
}
