package model_test

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"qtool/fixtures"
	"qtool/gguf"
	"qtool/internal/model"
	"qtool/internal/sharedtest"
)

// spoiled is a tiny model with some metadata and tensors changed.
func spoiled(s fixtures.Shape, md map[string]gguf.Value, tensors ...*gguf.Tensor) gguf.Model {
	m := fixtures.TinyLlama(1, s)
	for k, v := range md {
		m.Metadata().Set(k, v)
	}
	all := slices.Clone(m.Tensors())
	for _, t := range tensors {
		if i := slices.IndexFunc(all, func(x *gguf.Tensor) bool { return x.Name == t.Name }); i >= 0 {
			all[i] = t
		} else {
			all = append(all, t)
		}
	}
	return gguf.Assemble(m.Metadata(), all)
}

func zeros(name string, shape ...int) *gguf.Tensor {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return gguf.Float32Tensor(name, shape, make([]float32, n))
}

func TestModelsThatContradictThemselvesAreRefused(t *testing.T) {
	nan := float32(math.NaN())
	dense := fixtures.Shape{}
	for name, m := range map[string]gguf.Model{
		"no layers":               spoiled(dense, map[string]gguf.Value{"llama.block_count": uint32(0)}),
		"more layers than there":  spoiled(dense, map[string]gguf.Value{"llama.block_count": uint32(3)}),
		"a billion layers":        spoiled(dense, map[string]gguf.Value{"llama.block_count": uint32(1 << 30)}),
		"no heads at all":         spoiled(dense, map[string]gguf.Value{"llama.attention.head_count": []uint32{}}),
		"no key heads at all":     spoiled(dense, map[string]gguf.Value{"llama.attention.head_count_kv": []uint32{}}),
		"heads that do not group": spoiled(dense, map[string]gguf.Value{"llama.attention.head_count_kv": uint32(3)}),
		"heads of no width":       spoiled(dense, map[string]gguf.Value{"llama.attention.value_length": uint32(0)}),
		"heads of great width":    spoiled(dense, map[string]gguf.Value{"llama.attention.key_length": uint32(1 << 30)}),
		"odd rotation":            spoiled(dense, map[string]gguf.Value{"llama.rope.dimension_count": uint32(7)}),
		"epsilon NaN":             spoiled(dense, map[string]gguf.Value{"llama.attention.layer_norm_rms_epsilon": nan}),
		"a name for a number":     spoiled(dense, map[string]gguf.Value{"llama.embedding_length": "wide"}),
		"negative scaling":        spoiled(dense, map[string]gguf.Value{"llama.rope.scaling.factor": float32(-2)}),
		"more experts than there": spoiled(fixtures.Shape{Experts: 4}, map[string]gguf.Value{"llama.expert_count": uint32(8)}),
		"all experts and more":    spoiled(fixtures.Shape{Experts: 4}, map[string]gguf.Value{"llama.expert_used_count": uint32(5)}),
		"too many experts":        spoiled(fixtures.Shape{Experts: 4}, map[string]gguf.Value{"llama.expert_count": uint32(60000)}),
		"groups without experts":  spoiled(dense, map[string]gguf.Value{"llama.expert_group_count": uint32(2)}),
		"all groups of experts":   spoiled(fixtures.Shape{Experts: 4}, map[string]gguf.Value{"llama.expert_group_count": uint32(2), "llama.expert_group_used_count": uint32(2)}),
		"a tensor of no shape":    spoiled(dense, nil, zeros("blk.0.attn_norm.weight")),
		"a tensor too short":      spoiled(dense, nil, zeros("blk.0.attn_norm.weight", 31)),
		"a norm with NaN":         spoiled(dense, nil, gguf.Float32Tensor("output_norm.weight", []int{32}, slices.Repeat([]float32{nan}, 32))),
		"an embedding of one row": spoiled(dense, nil, zeros("token_embd.weight", 32)),
	} {
		if _, err := model.Load(m, model.Options{}); !errors.Is(err, model.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWhatIsNotComputedIsRefusedByName(t *testing.T) {
	dense := fixtures.Shape{}
	for name, m := range map[string]gguf.Model{
		"mamba":                    spoiled(dense, map[string]gguf.Value{"general.architecture": "mamba"}),
		"llama.attention.causal":   spoiled(dense, map[string]gguf.Value{"llama.attention.causal": false}),
		"rope scaling":             spoiled(dense, map[string]gguf.Value{"llama.rope.scaling.type": "dynamic"}),
		"blk.0.attn_q_norm.weight": spoiled(dense, nil, zeros("blk.0.attn_q_norm.weight", 8)),
		"output.bias":              spoiled(fixtures.Shape{Untied: true}, nil, zeros("output.bias", 64)),
	} {
		_, err := model.Load(m, model.Options{})
		if !errors.Is(err, model.ErrUnsupported) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestKeyHeadsFollowTheHeadsOfTheirLayerWhereTheyAreNotGiven(t *testing.T) {
	m := fixtures.TinyLlama(1, fixtures.Shape{Heads: 4, KVHeads: 4})
	m.Metadata().Delete("llama.attention.head_count_kv")
	if _, err := model.Load(m, model.Options{}); err != nil {
		t.Error(err)
	}
}

func TestCachedChunksGiveTheLogitsOfTheWhole(t *testing.T) {
	d, err := model.Load(fixtures.TinyLlama(1, fixtures.Shape{Experts: 4, Biases: true, RopeFreqs: true}), model.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ids := []int32{5, 9, 33, 2, 60, 7, 7, 1}
	want := logits(t, d, ids)
	tape, cache := newTape(t), d.NewCache(0)
	var got []float32
	for _, chunk := range [][]int32{ids[:3], ids[3:4], ids[4:]} {
		tape.Reset(false)
		got = append(got, d.Logits(tape, d.Hidden(tape, model.NewBatch(chunk, []int{0}), cache, false)).Data...)
	}
	if left := cache.Rewind(6); left != 6 {
		t.Fatalf("%d tokens are left", left)
	}
	tape.Reset(false)
	again := d.Logits(tape, d.Hidden(tape, model.NewBatch(ids[6:], []int{0}), cache, false)).Data
	// A token alone is multiplied in another order of sums.
	if e := max(sharedtest.NMSE(got, want), sharedtest.NMSE(again, want[6*d.Vocabulary:])); e > 1e-11 {
		t.Errorf("chunks give other logits: NMSE %g", e)
	}
}
