package lora

import (
	"qtool/gguf"
	"qtool/internal/adapt"
	"qtool/internal/model"
)

// Target is a weight of a base model that a pair can change.
type Target struct {
	Tensor           string // such as "blk.0.attn_q.weight"
	In, Out, Experts int    // Experts is 1 for a matrix that is no stack
	// Refused is why llama.cpp does not apply a pair here, "" if it does. Such a pair can
	// only be merged.
	Refused string
}

// Targets lists the weights of a base that pairs can change. It reads only its metadata and
// the names and shapes of its tensors.
func Targets(base gguf.Model) ([]Target, error) {
	d, err := model.Load(base, model.Options{Shapes: true})
	if err != nil {
		return nil, err
	}
	return publicTargets(d.Targets()), nil
}

// Select chooses targets of a base by short name ("attn_q"), full tensor name, glob over
// either ("ffn_*", "blk.0.*") or group: attention, ffn, experts, router, all. No patterns
// means "all", which leaves out the router, the embedding and the head: those are chosen
// when they are named.
//
// Groups and globs pass over what llama.cpp does not honour; to name it is an error that
// says why, as is a pattern that chooses nothing. With mergeOnly these targets are chosen
// like others: the pairs take effect once they are merged into the base.
func Select(base gguf.Model, patterns []string, mergeOnly bool) ([]Target, error) {
	d, err := model.Load(base, model.Options{Shapes: true})
	if err != nil {
		return nil, err
	}
	chosen, err := adapt.Select(d, patterns, mergeOnly)
	if err != nil {
		return nil, err
	}
	return publicTargets(chosen), nil
}

func publicTargets(of []model.Target) (targets []Target) {
	for _, t := range of {
		in, out, experts := t.Shape()
		targets = append(targets, Target{t.Tensor, in, out, experts, t.Refused})
	}
	return targets
}
