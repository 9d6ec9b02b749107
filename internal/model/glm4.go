package model

import (
	"slices"

	"qtool/internal/arch"
)

func configureGLM4(k *keys, c *Config) {
	refuseImages(k)
	k.nextTokens(c)
}

// refuseImages refuses positions in several dimensions, which models that see
// images have.
func refuseImages(k *keys) {
	if sections, _ := k.md.Ints(k.arch + "." + arch.KeyRopeDimensionSections); slices.ContainsFunc(sections, func(n int) bool { return n > 0 }) {
		refuseAs(ErrUnsupported, "%s with positions in several dimensions (%s.%s)", k.arch, k.arch, arch.KeyRopeDimensionSections)
	}
}
