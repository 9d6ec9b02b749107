package convert

var qwen2 = family{
	arch:  "qwen2",
	names: []string{"Qwen2ForCausalLM"},
	check: checkWindow,
}

var qwen3 = family{
	arch:  "qwen3",
	names: []string{"Qwen3ForCausalLM"},
	check: checkWindow,
}

// checkWindow refuses a window that the architecture does not have.
func checkWindow(c *config) {
	if c.boolean("use_sliding_window", false) && c.integer(0, "sliding_window") < c.integer(1, "max_position_embeddings") {
		c.refuse("attention in a sliding window (use_sliding_window) is not handled, the architecture attends to the whole context")
	}
}
