package model

import (
	"slices"

	"qtool/internal/nn"
)

var glm4 = architecture{
	name:    "glm4",
	models:  "GLM-4-0414, GLM-Z1",
	pairing: nn.RopeNorm,
	configure: func(k *keys, c *Config) {
		refuseImages(k)
		k.nextTokens(c)
	},
	norms:       prePostNorms,
	fusedGateUp: true,
	targets:     slices.Concat(endTargets, []string{"attn_q", "attn_k", "attn_v", "attn_qkv", "ffn_up"}),
	refused:     refuse(glmCrash, "attn_output", "ffn_down"),
}

// glmCrash is why the matrices that GLM multiplies in full precision take no pairs.
const glmCrash = "llama.cpp asks for full precision there, and stops with an assertion when an adapter is added"

// refuseImages refuses positions in several dimensions, which models that see
// images have.
func refuseImages(k *keys) {
	if sections, _ := k.md.Ints(k.arch + ".rope.dimension_sections"); slices.ContainsFunc(sections, func(n int) bool { return n > 0 }) {
		refuseAs(ErrUnsupported, "%s with positions in several dimensions (%s.rope.dimension_sections)", k.arch, k.arch)
	}
}
