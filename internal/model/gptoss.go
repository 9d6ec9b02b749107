package model

import (
	"slices"

	"qtool/internal/nn"
)

var gptoss = architecture{
	name:       "gpt-oss",
	models:     "gpt-oss-20b, gpt-oss-120b",
	pairing:    nn.RopeNeox,
	configure:  configureGPTOSS,
	norms:      preNormsRenamed,
	activation: nn.ClampedSwiGLU,
	experts:    true,
	sinks:      true,
	head:       ownHead,
	biases:     []string{"attn_output", "ffn_gate_inp", "ffn_gate_exps", "ffn_up_exps", "ffn_down_exps"},
	targets:    slices.Concat(endTargets, attentionTargets, expertTargets),
}

func configureGPTOSS(k *keys, c *Config) {
	c.ExpertWidth = k.needInt("expert_feed_forward_length")
	k.needInt("expert_count")
	k.needInt("attention.sliding_window")
	k.slidingWindow(c, 0, 2)
	c.WindowRope.Base = k.float("rope.freq_base_swa", c.Rope.Base)
	k.routing(c, nn.RouterSpec{Gating: nn.GateChosen})
	if c.Rope.Dims != c.HeadDim {
		refuseAs(ErrInvalid, "%s.rope.dimension_count is %d, but heads have %d dimensions", k.arch, c.Rope.Dims, c.HeadDim)
	}
}
