package model

import "slices"

// Architecture describes a row of the table of what the decoder computes.
type Architecture struct {
	Name   string // general.architecture
	Models string // the families that use it
	// Targets are the short names of weights whose LoRA pairs llama.cpp honours,
	// and Refused those whose pairs can only be merged, with the reason.
	Targets []string
	Refused map[string]string
}

// Architectures lists what the decoder computes.
func Architectures() []Architecture {
	var out []Architecture
	for _, a := range architectures {
		out = append(out, Architecture{a.name, a.models, slices.Clone(a.targets), a.refused})
	}
	return out
}
