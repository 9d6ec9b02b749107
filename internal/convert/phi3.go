package convert

import "qtool/internal/arch"

// phi3 has queries, keys and values in one tensor, gate and up in another, here
// as there. The architecture does not honour its sliding window.
var phi3 = family{
	arch:     "phi3",
	names:    []string{"Phi3ForCausalLM"},
	words:    phiWords,
	metadata: phi3Metadata,
	rotated:  1,
	rope:     ropeLong,
}

func phi3Metadata(w *metadataWriter, c *config, d *dims) {
	rotation(w, c, d)
	original := c.integer(d.context, "original_max_position_embeddings")
	if d.rope.kind == "longrope" {
		original = d.rope.context
		w.float(arch.KeyRopeScalingAttnFactor, d.rope.longMagnitude(d.context))
	}
	w.uint(arch.KeyRopeScalingOriginalContextLength, original)
	w.uint(arch.KeyAttentionSlidingWindow, c.integer(0, "sliding_window"))
}
