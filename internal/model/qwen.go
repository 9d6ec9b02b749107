package model

func configureQwen2(k *keys, c *Config) {
	for _, heads := range c.Heads {
		if heads*c.HeadDim != c.Embedding {
			refuseAs(ErrInvalid, "qwen2 with %d heads of %d dimensions on an embedding of %d", heads, c.HeadDim, c.Embedding)
		}
	}
}
