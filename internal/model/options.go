package model

import "fmt"

// What several architectures read of their metadata besides what all have.

// slidingWindow reads the window, whose length is def where the file does not
// say (0: no window), and which layers have it: all but the last of each period.
// They rotate as the others do until the caller says otherwise.
func (k *keys) slidingWindow(c *Config, def, period int) {
	c.Window = k.int("attention.sliding_window", def)
	if c.Window == 0 {
		return
	}
	period = k.int("attention.sliding_window_pattern", period)
	c.Windowed = make([]bool, c.Layers)
	for l := range c.Windowed {
		c.Windowed[l] = period == 0 || l%period < period-1
	}
	c.WindowRope = c.Rope
}

// nextTokens leaves out the blocks at the end that predict tokens further ahead.
func (k *keys) nextTokens(c *Config) {
	n := k.int("nextn_predict_layers", 0)
	if n >= c.Layers {
		k.fail(fmt.Errorf("%w: %s.nextn_predict_layers is %d of %d blocks", ErrInvalid, k.arch, n, c.Layers))
		return
	}
	c.Layers, c.Skipped = c.Layers-n, n
	c.Heads, c.KVHeads, c.FeedForward = c.Heads[:c.Layers], c.KVHeads[:c.Layers], c.FeedForward[:c.Layers]
}
