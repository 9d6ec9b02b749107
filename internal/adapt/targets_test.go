package adapt

import (
	"slices"
	"strings"
	"testing"

	"qtool/fixtures"
	"qtool/internal/model"
)

func TestOnlyANameAsksForWhatInferenceDoesNotHonour(t *testing.T) {
	d, err := model.Load(fixtures.TinyFamily(1, "glm4"), model.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for pattern, want := range map[string][]string{
		"all": {"attn_q", "attn_k", "attn_v", "ffn_up"}, "attn_*": {"attn_q", "attn_k", "attn_v"}, "ffn": {"ffn_up"},
	} {
		if got, err := Select(d, []string{pattern}, false); err != nil || !slices.Equal(names(got), want) {
			t.Errorf("%s chooses %v (%v)", pattern, names(got), err)
		}
	}
	for _, pattern := range []string{"attn_output", "blk.0.ffn_down", "blk.1.ffn_down.weight", "*_output"} {
		if _, err := Select(d, []string{pattern}, false); err == nil || !strings.Contains(err.Error(), "assertion") {
			t.Errorf("%s: %v", pattern, err)
		}
		if got, err := Select(d, []string{pattern}, true); err != nil || len(got) == 0 {
			t.Errorf("%s for merging: %v", pattern, err)
		}
	}
}

func TestATiedHeadIsNoTargetForAReason(t *testing.T) {
	d, err := model.Load(fixtures.TinyFamily(1, "gemma2"), model.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"output", "token_embd"} {
		for _, mergeOnly := range []bool{false, true} {
			if _, err := Select(d, []string{name}, mergeOnly); err == nil || !strings.Contains(err.Error(), "embedding as the head") {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestMatricesOfHeadsAreNoTargetsForAReason(t *testing.T) {
	for _, family := range []string{"deepseek2", "longcat-flash"} {
		d, err := model.Load(fixtures.TinyFamily(1, family), model.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"attn_k_b", "attn_v_b", "blk.0.attn_k_b.weight"} {
			for _, mergeOnly := range []bool{false, true} {
				if _, err := Select(d, []string{name}, mergeOnly); err == nil || !strings.Contains(err.Error(), "without looking for adapters") {
					t.Errorf("%s: %s: %v", family, name, err)
				}
			}
		}
	}
}

func TestAnAdapterForMergingRemembersIt(t *testing.T) {
	d, err := model.Load(fixtures.TinyFamily(1, "glm4"), model.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for target, want := range map[string]bool{"attn_q": false, "attn_output": true} {
		a, err := New(d, Config{Rank: 2, Alpha: 4, Targets: []string{target}, MergeOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		back, err := FromModel(a.Model())
		if err != nil || back.MergeOnly != want {
			t.Errorf("%s: merge only %v, %v", target, back.MergeOnly, err)
		}
		if err := back.Attach(d); err != nil {
			t.Errorf("%s: %v", target, err)
		}
	}
}
