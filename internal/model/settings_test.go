package model_test

import (
	"testing"

	"qtool/fixtures"
	"qtool/gguf"
	"qtool/internal/model"
)

func TestSettingsAreThoseOfTheArchitecture(t *testing.T) {
	hash := func(change func(*gguf.Metadata)) string {
		t.Helper()
		m := fixtures.TinyLlama(1, fixtures.Shape{})
		md := m.Metadata().Clone()
		change(md)
		h, err := model.SettingsSHA256(gguf.Assemble(md, m.Tensors()))
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	base := hash(func(*gguf.Metadata) {})
	for name, c := range map[string]struct {
		change func(*gguf.Metadata)
		same   bool
	}{
		"another name":          {func(md *gguf.Metadata) { md.Set("general.name", "x") }, true},
		"another context":       {func(md *gguf.Metadata) { md.Set("llama.context_length", uint32(7)) }, true},
		"another vocabulary":    {func(md *gguf.Metadata) { md.Set("tokenizer.ggml.model", "x") }, true},
		"another architecture":  {func(md *gguf.Metadata) { md.Set("general.architecture", "llama2") }, false},
		"another value":         {func(md *gguf.Metadata) { md.Set("llama.rope.freq_base", float32(7)) }, false},
		"a key that is missing": {func(md *gguf.Metadata) { md.Delete("llama.attention.head_count") }, false},
		"a key of tomorrow":     {func(md *gguf.Metadata) { md.Set("llama.tomorrow", true) }, false},
		"another order of keys": {func(md *gguf.Metadata) {
			v, _ := md.Get("llama.attention.head_count")
			md.Delete("llama.attention.head_count")
			md.Set("llama.attention.head_count", v)
		}, true},
	} {
		if h := hash(c.change); (h == base) != c.same {
			t.Errorf("%s: %s, before %s", name, h, base)
		}
	}
}
