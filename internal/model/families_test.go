package model_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"qtool/fixtures"
	"qtool/gguf"
	"qtool/internal/arch"
	"qtool/internal/model"
	"qtool/internal/sharedtest"
)

func TestEveryFixtureIsOfAKnownArchitecture(t *testing.T) {
	var known []string
	for _, a := range arch.All() {
		known = append(known, a.Name)
	}
	for _, name := range fixtures.Families() {
		if !slices.Contains(known, name) {
			t.Errorf("%s", name)
		}
	}
}

func TestOptionsThatAreNotComputedAreRefusedByName(t *testing.T) {
	for _, c := range []struct {
		family, key string
		value       gguf.Value
	}{
		{"qwen2", "qwen2.expert_count", uint32(4)},
		{"granite", "granite.deepstack_mapping", []int32{1, 0}},
		{"glm4", "glm4.rope.dimension_sections", []int32{2, 2, 0, 0}},
		{"gemma2", "rope_freqs.weight", nil},
		{"gemma2", "output.weight", nil},
		{"seed_oss", "blk.0.attn_output.bias", nil},
	} {
		m := fixtures.TinyFamily(1, c.family)
		want := c.key
		if c.value == nil {
			m = gguf.Assemble(m.Metadata(), append(slices.Clone(m.Tensors()), zeros(c.key, 32)))
		} else {
			m.Metadata().Set(c.key, c.value)
		}
		if c.key == "qwen2.expert_count" {
			m.Metadata().Set("qwen2.expert_used_count", uint32(2))
			want = "experts"
		}
		if _, err := model.Load(m, model.Options{}); !errors.Is(err, model.ErrUnsupported) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s with %s: %v", c.family, c.key, err)
		}
	}
}

func TestBlocksThatPredictFurtherTokensAreLeftOut(t *testing.T) {
	m := fixtures.TinyFamily(1, "glm4")
	m.Metadata().Set("glm4.nextn_predict_layers", uint32(1))
	d, err := model.Load(m, model.Options{})
	if err != nil || len(d.Layers) != 1 {
		t.Fatalf("%v", err)
	}
}

func TestCachedChunksGiveTheLogitsOfTheWholeInEveryFamily(t *testing.T) {
	ids := []int32{5, 9, 33, 2, 60, 7, 7, 1, 12, 48, 3, 3}
	for _, name := range fixtures.Families() {
		t.Run(name, func(t *testing.T) {
			d, err := model.Load(fixtures.TinyFamily(1, name), model.Options{})
			if err != nil {
				t.Fatal(err)
			}
			want := logits(t, d, ids)
			tape, cache := newTape(t), d.NewCache(0)
			var got []float32
			for _, chunk := range [][]int32{ids[:7], ids[7:8], ids[8:]} {
				tape.Reset(false)
				got = append(got, d.Logits(tape, d.Hidden(tape, model.NewBatch(chunk, []int{0}), cache, false)).Data...)
			}
			if e := sharedtest.NMSE(got, want); e > 1e-10 {
				t.Errorf("chunks give other logits: NMSE %g", e)
			}
		})
	}
}
