package convert

var seedOSS = family{
	arch:  "seed_oss",
	names: []string{"SeedOssForCausalLM"},
	check: func(c *config) {
		if c.boolean("attention_out_bias", false) || c.boolean("mlp_bias", false) {
			c.refuse("the seed_oss architecture has no attention_out_bias and no mlp_bias")
		}
	},
}
