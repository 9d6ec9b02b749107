package model

func configureQwen2(k *keys, c *Config) {
	for _, layer := range c.Layers {
		if layer.Heads*c.HeadDim != c.Embedding {
			refuseAs(ErrInvalid, "qwen2 with %d heads of %d dimensions on an embedding of %d", layer.Heads, c.HeadDim, c.Embedding)
		}
	}
}
