package tokenizer

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// tekkenOf writes a byte-level vocabulary whose tokens are in the order of its
// merges as tekken.json, behind specials special tokens.
func tekkenOf(t *testing.T, v *Vocab, specials int, edit func(file map[string]any)) fstest.MapFS {
	t.Helper()
	ranked := []any{}
	for i, text := range v.Tokens {
		if v.Types[i] != Normal {
			break
		}
		ranked = append(ranked, map[string]any{"rank": i, "token_bytes": unspell(nil, text), "token_str": nil})
	}
	file := map[string]any{
		"config": map[string]any{"pattern": publishedTekken[0][0], "num_vocab_tokens": len(ranked), "default_vocab_size": len(ranked) + specials, "default_num_special_tokens": specials},
		"vocab":  ranked,
		"special_tokens": []any{
			map[string]any{"rank": 0, "token_str": "<unk>", "is_control": true}, map[string]any{"rank": 1, "token_str": "<s>", "is_control": true},
			map[string]any{"rank": 2, "token_str": "</s>", "is_control": true}, map[string]any{"rank": 4, "token_str": "[INST]", "is_control": true},
		},
	}
	if edit != nil {
		edit(file)
	}
	data, err := json.Marshal(file)
	if err != nil {
		t.Fatal(err)
	}
	return fstest.MapFS{"tekken.json": {Data: data}}
}

// TestRankedTokensEncodeAsByTheirMerges has a real vocabulary, whose ranks are those
// of its merges, in both forms.
func TestRankedTokensEncodeAsByTheirMerges(t *testing.T) {
	const specials = 6
	want := *vocabNamed(t, "llama-bpe")
	want.Pre = "tekken"
	v, err := VocabFromHF(tekkenOf(t, &want, specials, nil), HFOptions{Arch: "llama"})
	if err != nil {
		t.Fatal(err)
	}
	if v.Pre != "tekken" || v.BOS != 1 || v.EOS != 2 || v.UNK != 0 || !v.AddBOS || v.AddEOS || v.Tokens[3] != "<SPECIAL_3>" || v.Types[4] != Control || v.Types[specials] != Normal {
		t.Errorf("pre-tokenizer %q, BOS %d, EOS %d, unknown %d, adds %t %t", v.Pre, v.BOS, v.EOS, v.UNK, v.AddBOS, v.AddEOS)
	}
	got, ref := mustNew(t, v), mustNew(t, &want)
	for _, c := range goldenCases(t, "llama-bpe") {
		ids := ref.Encode(c.text, EncodeOptions{})
		for i := range ids {
			ids[i] += specials
		}
		if is := got.Encode(c.text, EncodeOptions{}); !slices.Equal(is, ids) {
			t.Errorf("%q\n got %v\nwant %v", c.text, is, ids)
		}
	}
}

func TestBadRanksAreRefused(t *testing.T) {
	config := func(key string, value any) func(map[string]any) {
		return func(f map[string]any) { f["config"].(map[string]any)[key] = value }
	}
	for _, c := range []struct {
		name string
		edit func(map[string]any)
		want error
		says string
	}{
		{"special tokens", func(f map[string]any) { delete(f, "special_tokens") }, ErrUnsupported, "special_tokens"},
		{"fewer tokens", config("default_vocab_size", 1_000_000_000), ErrInvalid, "1000000000"},
		{"many special", config("default_num_special_tokens", 2_000_000_000), ErrInvalid, "2000000000"},
		{"negative", config("default_num_special_tokens", -1), ErrInvalid, "-1"},
		{"pattern", config("pattern", "[a-c]+"), ErrUnsupported, "[a-c]+"},
		{"gap", func(f map[string]any) { f["vocab"].([]any)[3].(map[string]any)["rank"] = 300 }, ErrInvalid, "rank"},
		{"long", func(f map[string]any) { f["vocab"].([]any)[3].(map[string]any)["token_bytes"] = make([]byte, 513) }, ErrInvalid, "513 bytes"},
		{"special id", func(f map[string]any) { f["special_tokens"].([]any)[3].(map[string]any)["rank"] = 9 }, ErrInvalid, "id 9 of 6"},
	} {
		_, err := VocabFromHF(tekkenOf(t, byteLevel("tekken"), 6, c.edit), HFOptions{})
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) || !strings.HasPrefix(err.Error(), "tekken.json: ") {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
