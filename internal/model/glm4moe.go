package model

import "qtool/internal/nn"

func configureGLM4MoE(k *keys, c *Config) {
	refuseImages(k)
	k.nextTokens(c)
	k.sharedExperts(c)
	k.storedRouting(c, 0, nn.GateSigmoid)
}
