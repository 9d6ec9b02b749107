package adapt

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"qtool/internal/arch"
	"qtool/internal/model"
)

// groups are names for several targets at once.
var groups = map[string][]string{
	"attention": {"attn_*"},
	"ffn":       {"ffn_gate", "ffn_up", "ffn_down"},
	"experts":   {"ffn_*_exps", "ffn_gate_shexp", "ffn_up_shexp", "ffn_down_shexp"},
	"router":    {"ffn_gate_inp", "ffn_gate_inp_shexp"},
	"all":       {"attn_*", "ffn_gate", "ffn_up", "ffn_down", "ffn_*_exps", "ffn_gate_shexp", "ffn_up_shexp", "ffn_down_shexp"},
}

// Select chooses targets of d by short name ("attn_q"), full tensor name, glob
// over either ("ffn_*", "blk.0.*") or group: attention, ffn, experts, router, all. No
// patterns means "all", which leaves out the router, the embedding and the
// head: those are trained when they are named.
//
// Groups and globs pass over what llama.cpp does not honour; to name it is an
// error that says why, as is a pattern that chooses nothing. With mergeOnly
// these targets are chosen like others: the pairs take effect once they are
// merged into the base.
func Select(d *model.Decoder, patterns []string, mergeOnly bool) ([]model.Target, error) {
	if len(patterns) == 0 {
		patterns = []string{"all"}
	}
	targets := d.Targets()
	chosen := make([]bool, len(targets))
	for _, p := range patterns {
		hits := 0
		var refused *model.Target
		for i := range targets {
			t := &targets[i]
			hit, err := matchesAny(p, t.Tensor)
			switch {
			case err != nil:
				return nil, fmt.Errorf("target %q is not a valid pattern: %w", p, err)
			case !hit:
			case t.Refused != "" && !mergeOnly:
				refused = t
			default:
				chosen[i] = true
				hits++
			}
		}
		if refused != nil && (hits == 0 || isName(p, refused.Tensor)) {
			return nil, fmt.Errorf("target %q: an adapter for %q cannot be used as one: %s; --merge-only trains it for merging into the base", p, arch.ShortName(refused.Tensor), refused.Refused)
		}
		if hits == 0 {
			return nil, nothingChosen(d, p)
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

func nothingChosen(d *model.Decoder, pattern string) error {
	if reason := d.NoTarget(arch.ShortName(pattern)); reason != "" {
		return fmt.Errorf("target %q: %s", pattern, reason)
	}
	return fmt.Errorf("target %q chooses nothing; the base offers: %s", pattern, strings.Join(names(d.Targets()), ", "))
}

// matchesAny reports whether a pattern or group hits a tensor.
func matchesAny(pattern, tensor string) (bool, error) {
	globs, isGroup := groups[pattern]
	if !isGroup {
		globs = []string{pattern}
	}
	for _, glob := range globs {
		for _, name := range namesOf(tensor) {
			if hit, err := path.Match(glob, name); hit || err != nil {
				return hit, err
			}
		}
	}
	return false, nil
}

// isName reports whether a pattern is the very name of a tensor.
func isName(pattern, tensor string) bool { return slices.Contains(namesOf(tensor), pattern) }

// namesOf are the names that users may give a tensor.
func namesOf(tensor string) []string {
	return []string{arch.ShortName(tensor), tensor, strings.TrimSuffix(tensor, ".weight")}
}

// names lists the distinct short names of what is honoured.
func names(targets []model.Target) []string {
	var out []string
	for _, t := range targets {
		if n := arch.ShortName(t.Tensor); t.Refused == "" && !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}
