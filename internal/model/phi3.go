package model

import (
	"slices"

	"qtool/internal/nn"
)

// phi3 takes long or short rope factors by the context, whatever kind of scaling
// the file names. Its sliding window is not honoured by llama.cpp, nor here.
var phi3 = architecture{
	name:        "phi3",
	models:      "Phi-3, Phi-3.5-mini, Phi-4, Phi-4-mini",
	pairing:     nn.RopeNeox,
	configure:   func(_ *keys, c *Config) { c.LongRope = true },
	norms:       preNorms,
	fusedGateUp: true,
	ropeFactors: true,
	targets:     slices.Concat(endTargets, attentionTargets, []string{"ffn_up", "ffn_down"}),
}
