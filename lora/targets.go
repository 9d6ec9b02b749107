package lora

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"qtool/internal/model"
)

// groups are names for several targets at once.
var groups = map[string][]string{
	"attention": {"attn_*"},
	"ffn":       {"ffn_gate", "ffn_up", "ffn_down"},
	"experts":   {"ffn_*_exps"},
	"all":       {"attn_*", "ffn_gate", "ffn_up", "ffn_down", "ffn_*_exps"},
}

// Select chooses targets by short name ("attn_q"), full tensor name, glob over
// either ("ffn_*", "blk.0.*") or group: attention, ffn, experts, all. No
// patterns means "all", which leaves out the router, the embedding and the
// head: those are trained when they are named. A pattern that chooses nothing
// is an error that lists what there is.
func Select(targets []model.Target, patterns []string) ([]model.Target, error) {
	if len(patterns) == 0 {
		patterns = []string{"all"}
	}
	chosen := make([]bool, len(targets))
	for _, p := range patterns {
		hits := 0
		globs, isGroup := groups[p]
		if !isGroup {
			globs = []string{p}
		}
		for i, t := range targets {
			for _, g := range globs {
				hit, err := matches(g, t.Tensor)
				if err != nil {
					return nil, fmt.Errorf("target %q is not a valid pattern: %w", p, err)
				}
				if hit {
					chosen[i] = true
					hits++
				}
			}
		}
		if hits == 0 {
			return nil, fmt.Errorf("target %q chooses nothing that llama.cpp would honour; the base offers: %s", p, strings.Join(names(targets), ", "))
		}
	}
	var out []model.Target
	for i, t := range targets {
		if chosen[i] {
			out = append(out, t)
		}
	}
	return out, nil
}

func matches(glob, tensor string) (bool, error) {
	for _, name := range []string{model.TargetName(tensor), tensor, strings.TrimSuffix(tensor, ".weight")} {
		if hit, err := path.Match(glob, name); hit || err != nil {
			return hit, err
		}
	}
	return false, nil
}

// names lists the distinct short names.
func names(targets []model.Target) []string {
	var out []string
	for _, t := range targets {
		if n := model.TargetName(t.Tensor); !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}
