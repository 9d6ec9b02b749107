package model

import (
	"slices"

	"qtool/internal/nn"
)

var seedOSS = architecture{
	name:    "seed_oss",
	models:  "Seed-OSS",
	pairing: nn.RopeNeox,
	norms:   preNormsRenamed,
	targets: slices.Concat(endTargets, attentionTargets, ffnTargets),
}
