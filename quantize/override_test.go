package quantize_test

import (
	"math"
	"strings"
	"testing"

	"qtool/gguf"
	"qtool/quantize"
)

func overrides(t *testing.T, all ...string) (list []quantize.Override) {
	t.Helper()
	for _, s := range all {
		o, err := quantize.ParseOverride(s)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, o)
	}
	return list
}

func TestOverridesKeepTheTypeThatReadersExpect(t *testing.T) {
	md := &gguf.Metadata{}
	for _, kv := range []gguf.KV{
		{Key: "general.architecture", Value: "llama"}, {Key: "signed", Value: int32(1)}, {Key: "wide", Value: uint64(1)},
		{Key: "narrow", Value: uint8(1)}, {Key: "double", Value: float64(1)}, {Key: "array", Value: []uint32{1, 2}},
	} {
		md.Set(kv.Key, kv.Value)
	}
	m := gguf.Assemble(md, []*gguf.Tensor{tensorOf("output.weight", gguf.F32, 32, 2)})
	for s, want := range map[string]gguf.Value{
		"new=int:7": uint32(7), "new=int:-7": int32(-7), "new=int:5000000000": int64(5000000000), "new=int:18446744073709551615": uint64(math.MaxUint64),
		"signed=int:7": int32(7), "signed=int:4000000000": uint32(4000000000), "wide=int:7": uint64(7), "narrow=int:7": uint8(7), "narrow=int:300": uint32(300),
		"new=float:0.5": float32(0.5), "double=float:0.5": 0.5, "new=bool:true": true, "signed=bool:false": false,
		"new=str:a=b:c": "a=b:c", "new=str:": "", "array=int:3": uint32(3), "general.file_type=int:3": uint32(3),
	} {
		p := planOf(t, m, quantize.Options{FileType: "Q8_0", Overrides: overrides(t, s)})
		key, _, _ := strings.Cut(s, "=")
		all := p.Model().Metadata().All()
		if last := all[len(all)-1]; last.Key != key || last.Value != want {
			t.Errorf("%s: the last key is %s with %#v, want %#v", s, last.Key, last.Value, want)
		}
	}
	if v, _ := md.Get("signed"); v != int32(1) {
		t.Errorf("the source's metadata changed: %v", v)
	}
}

func TestOverridesAreSeenByTheMix(t *testing.T) {
	m := gguf.Assemble(llamaMetadata(2), []*gguf.Tensor{
		tensorOf("output.weight", gguf.F32, 256, 2), tensorOf("blk.0.attn_k.weight", gguf.F32, 256, 2),
	})
	for s, want := range map[string]gguf.Type{"llama.expert_count=int:8": gguf.Q8_0, "llama.expert_count=int:4": gguf.Q4_K} {
		if got := typesOf(planOf(t, m, quantize.Options{FileType: "Q4_K_M", Overrides: overrides(t, s)})); got["blk.0.attn_k.weight"] != want {
			t.Errorf("%s: %v", s, got)
		}
	}
}

func TestOverridesThatMakeNoSenseAreRefused(t *testing.T) {
	for _, s := range []string{
		"", "key", "key=", "key=7", "=int:7", "key=int:", "key=int:7x", "key=int:18446744073709551616", "key=float:one",
		"key=float:1e99", "key=float:inf", "key=bool:1", "key=list:1", "split.count=int:3",
	} {
		if o, err := quantize.ParseOverride(s); err == nil {
			t.Errorf("%q became %v", s, o)
		}
	}
}

// llamaMetadata is that of a model of so many layers.
func llamaMetadata(layers int) *gguf.Metadata {
	md := &gguf.Metadata{}
	md.Set("general.architecture", "llama")
	md.Set("llama.block_count", uint32(layers))
	return md
}
