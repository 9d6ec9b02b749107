package main

import "qtool/internal/ggml"

// blocks are what a loop of assembly takes at once of one ggml type.
type blocks struct {
	typ             ggml.Type
	name            string
	elements, bytes int
}

// blocksOf are the blocks of t, or as many as have 32 elements.
func blocksOf(t ggml.Type) blocks {
	elements := max(t.BlockElements(), 32)
	return blocks{t, t.String(), elements, elements / t.BlockElements() * t.BlockBytes()}
}

// scaleOf is where the blocks of t have their scale.
func scaleOf(t ggml.Type) int { return ggml.TraitsOf(t).Scales[0] }
