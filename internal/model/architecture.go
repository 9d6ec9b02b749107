package model

import (
	"fmt"
	"slices"
	"strings"

	"qtool/internal/nn"
)

// architecture is one row of the table of what the decoder computes.
type architecture struct {
	name    string
	pairing nn.RopePairing
	// configure reads what is special to the architecture and checks it.
	configure func(k *keys, c *Config)
	// biases are the weights that may come with one, by their short names.
	biases []string
	// targets are the weights whose LoRA pairs llama.cpp honours, without
	// "blk.N." and ".weight".
	targets []string
}

var architectures = []architecture{llama}

func findArchitecture(name string) (*architecture, error) {
	var known []string
	for i := range architectures {
		if architectures[i].name == name {
			return &architectures[i], nil
		}
		known = append(known, architectures[i].name)
	}
	return nil, fmt.Errorf("%w: architecture %q is not known; known are: %s", ErrUnsupported, name, strings.Join(known, ", "))
}

// honours reports whether inference applies a LoRA pair on the tensor.
func (a *architecture) honours(tensor string) bool {
	return slices.Contains(a.targets, TargetName(tensor))
}

// TargetName is the short name of a tensor as users give it to choose targets:
// "attn_q" for "blk.3.attn_q.weight".
func TargetName(tensor string) string {
	name := strings.TrimSuffix(tensor, ".weight")
	if rest, ok := strings.CutPrefix(name, "blk."); ok {
		if _, after, ok := strings.Cut(rest, "."); ok {
			return after
		}
	}
	return name
}
