package tokenizer

import (
	"cmp"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"qtool/gguf"
	"qtool/internal/sharedtest"

	gocmp "github.com/google/go-cmp/cmp"
)

// tinyStories is the one Hugging Face tokenizer of the reference data.
func tinyStories(t testing.TB) string {
	return filepath.Dir(sharedtest.Path(t, "data/tinystories-656k/tokenizer.json"))
}

// naiveBPE merges the leftmost pair of lowest rank until there is none, over
// strings and as slowly as it sounds. Runs of characters without a token become
// one <unk>.
func naiveBPE(ranks map[[2]string]int, vocab map[string]int32, text string) (ids []int32) {
	var parts []string
	for _, r := range text {
		parts = append(parts, string(r))
	}
	for {
		best, at := -1, 0
		for i := 1; i < len(parts); i++ {
			if r, ok := ranks[[2]string{parts[i-1], parts[i]}]; ok && (best < 0 || r < best) {
				best, at = r, i
			}
		}
		if best < 0 {
			break
		}
		parts[at-1] += parts[at]
		parts = slices.Delete(parts, at, at+1)
	}
	for _, p := range parts {
		id, ok := vocab[p]
		if !ok {
			if id = vocab["<unk>"]; len(ids) > 0 && ids[len(ids)-1] == id {
				continue
			}
		}
		ids = append(ids, id)
	}
	return ids
}

// TestScoresReproduceMerges encodes real text by the scores made of a Hugging
// Face tokenizer's merges and by the merges themselves.
func TestScoresReproduceMerges(t *testing.T) {
	dir := tinyStories(t)
	v, err := VocabFromHF(os.DirFS(dir), HFOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var file hfTokenizer
	if _, err := readJSON(os.DirFS(dir), "tokenizer.json", &file); err != nil {
		t.Fatal(err)
	}
	var vocab map[string]int32
	if err := json.Unmarshal(file.Model.Vocab, &vocab); err != nil {
		t.Fatal(err)
	}
	ranks := map[[2]string]int{}
	for i, m := range file.Model.Merges {
		ranks[m] = i
	}
	tok := mustNew(t, v)
	text := string(sharedtest.Read(t, "data/text/wiki.test.raw"))[:60_000]
	lines := 0
	for _, line := range strings.SplitAfter(text, "\n") {
		if line == "" {
			continue
		}
		lines++
		want := naiveBPE(ranks, vocab, strings.ReplaceAll(" "+line, " ", blankMark))
		if got := tok.Encode(line, EncodeOptions{}); !slices.Equal(got, want) {
			t.Fatalf("%q\n got %v\nwant %v", line, got, want)
		}
	}
	if lines < 100 {
		t.Errorf("only %d lines compared", lines)
	}
}

func TestHFFolderSpeaksForItself(t *testing.T) {
	v, err := VocabFromHF(os.DirFS(tinyStories(t)), HFOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if v.Model != ModelSPM || len(v.Tokens) != 2048 || !v.AddSpacePrefix || !v.AddBOS || v.AddEOS ||
		v.BOS != 1 || v.EOS != 2 || v.UNK != 0 || v.PAD != 0 || v.Types[0] != Control || v.Types[1] != Control {
		t.Errorf("read wrongly: %+v", func() Vocab { s := *v; s.Tokens, s.Scores, s.Types = nil, nil, v.Types[:4]; return s }())
	}
	tok := mustNew(t, v)
	text := "Once upon a time, there was a little girl named Lily."
	ids := tok.Encode(text, EncodeOptions{AddSpecial: true})
	if ids[0] != 1 || tok.Decode(ids, DecodeOptions{}) != text {
		t.Errorf("%v decodes to %q", ids, tok.Decode(ids, DecodeOptions{}))
	}
}

// hfPreTokenizers are the published pre_tokenizers of the reference
// vocabularies, one of each kind.
var hfPreTokenizers = map[string]string{
	"gpt-2":          `{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true}`,
	"refact":         `{"type":"Sequence","pretokenizers":[{"type":"Digits","individual_digits":true},{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true}]}`,
	"starcoder":      `{"type":"Sequence","pretokenizers":[{"type":"Digits","individual_digits":true},{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true}]}`,
	"mpt":            `{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true}`,
	"llama-bpe":      `{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},"behavior":"Isolated","invert":false},{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":false}]}`,
	"qwen2":          `{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},"behavior":"Isolated","invert":false},{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":false,"use_regex":false}]}`,
	"falcon":         `{"type":"Sequence","pretokenizers":[{"type":"Punctuation","behavior":"Contiguous"},{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true},{"type":"Digits","individual_digits":false},{"type":"Split","pattern":{"Regex":"[0-9][0-9][0-9]"},"behavior":"Isolated","invert":false}]}`,
	"deepseek-llm":   `{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":"[\r\n]"},"behavior":"Isolated","invert":false},{"type":"Split","pattern":{"Regex":"\\s?[A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u01bc-\u01bf\u01c4-\u0293\u0295-\u02af\u0370-\u0373\u0376\u0377\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c\u038e-\u03a1\u03a3-\u03f5\u03f7-\u0481\u048a-\u052f\u0531-\u0556\u10a0-\u10c5\u13a0-\u13f5\u13f8-\u13fd\u1c90-\u1cba\u1cbd-\u1cbf\u1d00-\u1d2b\u1d6b-\u1d77\u1d79-\u1d9a\u1e00-\u1f15\u1f18-\u1f1d\u1f20-\u1f45\u1f48-\u1f4d\u1f50-\u1f57\u1f59\u1f5b\u1f5d\u1f5f-\u1f7d\u1f80-\u1fb4\u1fb6-\u1fbc\u1fbe\u1fc2-\u1fc4\u1fc6-\u1fcc\u1fd0-\u1fd3\u1fd6-\u1fdb\u1fe0-\u1fec\u1ff2-\u1ff4\u1ff6-\u1ffc\u2102\u2107\u210a-\u2113\u2115\u2119-\u211d\u2124\u2126\u2128\u212a-\u212d\u212f-\u2134\u2139\u213c-\u213f\u2145-\u2149\u214e\u2183\u2184\u2c00-\u2c7b\u2c7e-\u2ce4\u2ceb-\u2cee\u2cf2\u2cf3\ua640-\ua66d\ua680-\ua69b\ua722-\ua76f\ua771-\ua787\ua78b-\ua78e\uab70-\uabbf\ufb00-\ufb06\ufb13-\ufb17\uff21-\uff3a\uff41-\uff5a\ud801\udc00-\ud801\udc4f\ud801\udcb0-\ud801\udcd3\ud801\udcd8-\ud801\udcfb\ud803\udc80-\ud803\udcb2\ud803\udcc0-\ud803\udcf2\ud806\udca0-\ud806\udcdf\ud83a\udd00-\ud83a\udd43]+"},"behavior":"Isolated","invert":false},{"type":"Split","pattern":{"Regex":"\\s?[!-/:-~！-／：-～‘-‟　-。]+"},"behavior":"Isolated","invert":false},{"type":"Split","pattern":{"Regex":"\\s+$"},"behavior":"Isolated","invert":false},{"type":"Split","pattern":{"Regex":"[一-龥ࠀ-一가-퟿]+"},"behavior":"Isolated","invert":false},{"type":"Digits","individual_digits":true},{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":false}]}`,
	"deepseek-coder": `{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":"[\r\n]"},"behavior":"Isolated","invert":false},{"type":"Split","pattern":{"Regex":"\\s?\\p{L}+"},"behavior":"Isolated","invert":false},{"type":"Split","pattern":{"Regex":"\\s?\\p{P}+"},"behavior":"Isolated","invert":false},{"type":"Split","pattern":{"Regex":"[一-龥ࠀ-一가-퟿]+"},"behavior":"Isolated","invert":false},{"type":"Digits","individual_digits":true},{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":false}]}`,
}

// hfFolder writes a vocabulary of the reference data as a Hugging Face folder.
func hfFolder(t testing.TB, v *Vocab, preTokenizer string, ignoreMerges bool) fstest.MapFS {
	t.Helper()
	vocab := map[string]int{}
	added := []map[string]any{}
	for i, text := range v.Tokens {
		switch v.Types[i] {
		case Unused:
			continue
		case Control, UserDefined:
			added = append(added, map[string]any{"id": i, "content": text, "special": v.Types[i] == Control})
		default:
			vocab[text] = i
		}
	}
	merges := [][]string{}
	for _, m := range v.Merges {
		left, right, _ := cutMerge(m)
		merges = append(merges, []string{left, right})
	}
	data, err := json.Marshal(map[string]any{
		"version": "1.0", "added_tokens": added, "normalizer": nil,
		"pre_tokenizer": json.RawMessage(preTokenizer),
		"model":         map[string]any{"type": "BPE", "vocab": vocab, "merges": merges, "ignore_merges": ignoreMerges},
	})
	if err != nil {
		t.Fatal(err)
	}
	config, err := json.Marshal(map[string]any{"vocab_size": len(v.Tokens), "bos_token_id": v.BOS, "eos_token_id": v.EOS})
	if err != nil {
		t.Fatal(err)
	}
	return fstest.MapFS{
		"tokenizer.json": {Data: data},
		"config.json":    {Data: config},
	}
}

func TestHFIdsEqualLlamaCpp(t *testing.T) {
	for _, name := range goldenVocabs {
		steps, ok := hfPreTokenizers[name]
		if !ok {
			continue // sentencepiece, see below
		}
		t.Run(name, func(t *testing.T) {
			want := vocabNamed(t, name)
			v, err := VocabFromHF(hfFolder(t, want, steps, name == "llama-bpe"), HFOptions{})
			if err != nil {
				t.Fatal(err)
			}
			types := slices.Clone(want.Types)
			for i, typ := range types {
				if typ == UserDefined && looksSpecial(want.Tokens[i]) {
					types[i] = Control // as the converter has it since those files were made
				}
			}
			if !slices.Equal(v.Tokens, want.Tokens) || !slices.Equal(v.Types, types) || !slices.Equal(v.Merges, want.Merges) ||
				v.BOS != want.BOS || v.EOS != want.EOS {
				t.Error("tokens, types, merges or their ends differ")
			}
			// Some names stand for the same pieces.
			pre, err := preRulesOf(v.Pre)
			wantPre, _ := preRulesOf(want.Pre)
			if err != nil || &pre.split[0] != &wantPre.split[0] || pre.ignoreMerges != wantPre.ignoreMerges {
				t.Errorf("the pre-tokenizer is %q, not %q; %v", v.Pre, want.Pre, err)
			}
			checkGolden(t, mustNew(t, v), name)
		})
	}
}

func TestHFVocabSurvivesGGUF(t *testing.T) {
	folders := map[string]func(t *testing.T) (*Vocab, error){
		"tinystories": func(t *testing.T) (*Vocab, error) { return VocabFromHF(os.DirFS(tinyStories(t)), HFOptions{}) },
		"gpt-2": func(t *testing.T) (*Vocab, error) {
			return VocabFromHF(hfFolder(t, vocabNamed(t, "gpt-2"), hfPreTokenizers["gpt-2"], false), HFOptions{})
		},
		"tiny": func(*testing.T) (*Vocab, error) { return VocabFromHF(tinyHF(nil), HFOptions{}) },
	}
	for name, load := range folders {
		t.Run(name, func(t *testing.T) {
			v, err := load(t)
			if err != nil {
				t.Fatal(err)
			}
			md := &gguf.Metadata{}
			v.WriteMetadata(md)
			back, err := VocabFromMetadata(md)
			if err != nil {
				t.Fatal(err)
			}
			if diff := gocmp.Diff(v, back); diff != "" {
				t.Errorf("from the folder (-) and from GGUF (+):\n%s", diff)
			}
		})
	}
}

func TestHFIdsOfSentencePieceEqualLlamaCpp(t *testing.T) {
	for _, name := range []string{"llama-spm", "phi-3"} {
		t.Run(name, func(t *testing.T) {
			v, err := VocabFromHF(hfOfSentencePiece(vocabNamed(t, name)), HFOptions{})
			if err != nil {
				t.Fatal(err)
			}
			checkGolden(t, mustNew(t, v), name)
		})
	}
}

// hfOfSentencePiece writes the merges as the published files have them, made from
// the scores: all halves of each token that are tokens, in the order of the
// whole's score, then of the halves' ids.
func hfOfSentencePiece(v *Vocab) fstest.MapFS {
	ids := map[string]int{}
	for i, text := range v.Tokens {
		if v.Types[i] == Normal {
			ids[text] = i
		}
	}
	type merge struct {
		left, right string
		whole       int
	}
	var merges []merge
	for whole, text := range v.Tokens {
		for i := range text {
			_, left := ids[text[:i]]
			_, right := ids[text[i:]]
			if left && right && v.Types[whole] == Normal {
				merges = append(merges, merge{text[:i], text[i:], whole})
			}
		}
	}
	slices.SortStableFunc(merges, func(a, b merge) int {
		return cmp.Or(-cmp.Compare(v.Scores[a.whole], v.Scores[b.whole]), cmp.Compare(a.whole, b.whole),
			cmp.Compare(ids[a.left], ids[b.left]), cmp.Compare(ids[a.right], ids[b.right]))
	})
	fsys := tinyHF(func(f map[string]any) {
		vocab, added, pairs := map[string]int{}, []any{}, [][2]string{}
		for i, text := range v.Tokens {
			vocab[text] = i
			if v.Types[i] == Control || v.Types[i] == Unknown {
				added = append(added, map[string]any{"id": i, "content": text, "special": true})
			}
		}
		for _, m := range merges {
			pairs = append(pairs, [2]string{m.left, m.right})
		}
		f["added_tokens"] = added
		f["model"] = map[string]any{"type": "BPE", "byte_fallback": true, "unk_token": "<unk>", "vocab": vocab, "merges": pairs}
	})
	delete(fsys, "config.json")
	return fsys
}

// tinyHF is a sentencepiece-like tokenizer.json of a few tokens. edit may change
// it before it is written.
func tinyHF(edit func(file map[string]any)) fstest.MapFS {
	file := map[string]any{
		"added_tokens": []any{
			map[string]any{"id": 0, "content": "<unk>", "special": true},
			map[string]any{"id": 1, "content": "<s>", "special": true},
			map[string]any{"id": 2, "content": "</s>", "special": true},
			map[string]any{"id": 9, "content": "<tool>", "special": false},
		},
		"normalizer": map[string]any{"type": "Sequence", "normalizers": []any{
			map[string]any{"type": "Prepend", "prepend": blankMark},
			map[string]any{"type": "Replace", "pattern": map[string]any{"String": " "}, "content": blankMark},
		}},
		"post_processor": map[string]any{"type": "TemplateProcessing", "single": []any{
			map[string]any{"SpecialToken": map[string]any{"id": "<s>"}},
			map[string]any{"Sequence": map[string]any{"id": "A"}},
		}},
		"model": map[string]any{"type": "BPE", "byte_fallback": true, "unk_token": "<unk>",
			"vocab":  map[string]any{"<0x41>": 3, "▁": 4, "a": 5, "b": 6, "ab": 7, "▁ab": 8},
			"merges": []any{"a b", "▁ ab"}},
	}
	if edit != nil {
		edit(file)
	}
	data, err := json.Marshal(file)
	if err != nil {
		panic(err)
	}
	return fstest.MapFS{
		"tokenizer.json":        {Data: data},
		"tokenizer_config.json": {Data: []byte(`{"bos_token": "<s>", "eos_token": {"content": "</s>"}, "chat_template": "{{ x }}"}`)},
		"config.json":           {Data: []byte(`{"vocab_size": 12}`)},
	}
}

func TestHFRolesArePutIntoTypes(t *testing.T) {
	v, err := VocabFromHF(tinyHF(nil), HFOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := []TokenType{Control, Control, Control, Byte, Normal, Normal, Normal, Normal, Normal, UserDefined, Unused, Unused}
	if !slices.Equal(v.Types, want) || v.Tokens[11] != "[PAD11]" {
		t.Errorf("types %v, last token %q", v.Types, v.Tokens[11])
	}
	if v.BOS != 1 || v.EOS != 2 || !v.AddBOS || v.AddEOS || v.ChatTemplate != "{{ x }}" {
		t.Errorf("BOS %d, EOS %d, add %t %t, template %q", v.BOS, v.EOS, v.AddBOS, v.AddEOS, v.ChatTemplate)
	}
	got := mustNew(t, v).Encode("ab<tool>A b", EncodeOptions{AddSpecial: true})
	if want := []int32{1, 8, 9, 4, 3, 4, 6}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestHFSettingsComeFromTheFilesBeside(t *testing.T) {
	with := func(files map[string]string) *Vocab {
		fsys := tinyHF(nil)
		for name, content := range files {
			fsys[name] = &fstest.MapFile{Data: []byte(content)}
		}
		v, err := VocabFromHF(fsys, HFOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	if v := with(map[string]string{"tokenizer_config.json": `{"bos_token":"<s>","eos_token":"</s>","add_bos_token":false,"add_eos_token":true}`}); v.AddBOS || !v.AddEOS {
		t.Errorf("tokenizer_config.json does not decide: %t %t", v.AddBOS, v.AddEOS)
	}
	if v := with(map[string]string{"tokenizer_config.json": `{}`, "special_tokens_map.json": `{"eos_token":"</s>","pad_token":{"content":"<unk>"}}`}); v.EOS != 2 || v.PAD != 0 || v.BOS != 1 || !v.AddBOS {
		t.Errorf("special_tokens_map.json: EOS %d, PAD %d, BOS %d", v.EOS, v.PAD, v.BOS)
	}
	if v := with(map[string]string{"tokenizer_config.json": `{"bos_token":null}`, "generation_config.json": `{"eos_token_id":[2,1],"bos_token_id":1}`}); v.EOS != 2 || v.BOS != 1 || !v.AddBOS {
		t.Errorf("generation_config.json: EOS %d, BOS %d", v.EOS, v.BOS)
	}
	if v := with(map[string]string{"tokenizer_config.json": `{}`, "chat_template.jinja": "jinja"}); v.ChatTemplate != "jinja" {
		t.Errorf("template %q", v.ChatTemplate)
	}
	if v := with(map[string]string{"tokenizer_config.json": `{"chat_template":[{"name":"tool use","template":"t"},{"name":"default","template":"d"},{"name":"","template":"n"}]}`}); v.ChatTemplate != "d" || !slices.Equal(v.ChatTemplates, []NamedTemplate{{"tool_use", "t"}}) {
		t.Errorf("templates %q, %q", v.ChatTemplate, v.ChatTemplates)
	}
	files := map[string]string{"chat_template.jinja": "jinja", "additional_chat_templates/rag.jinja": "r", "additional_chat_templates/notes.txt": "x"}
	for config, differs := range map[string]bool{
		"": true, `{}`: false, `{"chat_template":"jinja"}`: false, `{"chat_template":[{"name":"default","template":"d"}]}`: true,
	} {
		if config != "" {
			files["tokenizer_config.json"] = config
		}
		v := with(files)
		if v.ChatTemplate != "jinja" || !slices.Equal(v.ChatTemplates, []NamedTemplate{{"rag", "r"}}) || (v.Remarks != nil) != differs && config != "" {
			t.Errorf("%s: templates %q, %q, remarks %q", config, v.ChatTemplate, v.ChatTemplates, v.Remarks)
		}
	}
	if v := with(map[string]string{"tokenizer_config.json": `{}`, "chat_template.json": `{"chat_template":"j"}`}); v.ChatTemplate != "j" {
		t.Errorf("template %q", v.ChatTemplate)
	}
	if v := with(map[string]string{"tokenizer_config.json": `{"added_tokens_decoder":{"9":{"content":"<tool>","special":true},"10":{"content":"<new>","rstrip":true}}}`}); v.Types[9] != Control || v.Tokens[10] != "<new>" || v.Types[10] != UserDefined || !slices.Equal(v.RightStrip, []int32{10}) {
		t.Errorf("added_tokens_decoder: types %v and %v, token %q, stripping %v", v.Types[9], v.Types[10], v.Tokens[10], v.RightStrip)
	}
}

func TestHFRefusesWhatItCannotDo(t *testing.T) {
	model := func(key string, value any) func(map[string]any) {
		return func(f map[string]any) { f["model"].(map[string]any)[key] = value }
	}
	split := func(regex string) func(map[string]any) {
		return func(f map[string]any) {
			f["normalizer"] = nil
			f["pre_tokenizer"] = map[string]any{"type": "Sequence", "pretokenizers": []any{
				map[string]any{"type": "Split", "pattern": map[string]any{"Regex": regex}, "behavior": "Isolated"},
				map[string]any{"type": "ByteLevel", "use_regex": false, "add_prefix_space": false},
			}}
		}
	}
	cases := []struct {
		name string
		edit func(map[string]any)
		want error
		says string
	}{
		{"unigram", model("type", "Unigram"), ErrUnsupported, "Unigram"},
		{"suffix", model("end_of_word_suffix", "</w>"), ErrUnsupported, "</w>"},
		{"no byte fallback", model("byte_fallback", false), ErrUnsupported, "falls back"},
		{"unknown split", split(`\w+`), ErrUnsupported, `\\w+`},
		{"lower case", func(f map[string]any) { f["normalizer"] = map[string]any{"type": "Lowercase"} }, ErrUnsupported, "Lowercase"},
		{"words", func(f map[string]any) {
			f["pre_tokenizer"] = map[string]any{"type": "Metaspace", "replacement": blankMark}
			model("vocab", map[string]any{"a": 3, "a▁": 4})(f)
		}, ErrUnsupported, "a▁"},
		{"huge id", model("vocab", map[string]any{"a": 2_000_000_000}), ErrInvalid, "2000000000"},
		{"negative id", model("vocab", map[string]any{"a": -1}), ErrInvalid, "-1"},
		{"two of one id", model("vocab", map[string]any{"a": 3, "b": 3}), ErrInvalid, "both have the id 3"},
		{"beyond the model", model("vocab", map[string]any{"a": 12}), ErrInvalid, "vocab_size"},
		{"merge of nothing", model("merges", []any{"a x"}), ErrInvalid, `"x"`},
		{"merge without a space", model("merges", []any{"ab"}), ErrInvalid, "two parts"},
		{"no vocabulary", model("vocab", nil), ErrInvalid, "model.vocab"},
	}
	for _, c := range cases {
		_, err := VocabFromHF(tinyHF(c.edit), HFOptions{})
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if _, err := VocabFromHF(fstest.MapFS{}, HFOptions{}); !errors.Is(err, ErrNoVocab) {
		t.Errorf("empty folder: %v", err)
	}
	if _, err := VocabFromHF(fstest.MapFS{"tokenizer.model": {}}, HFOptions{}); !errors.Is(err, ErrUnsupported) {
		t.Errorf("tokenizer.model alone: %v", err)
	}
}

func FuzzVocabFromHF(f *testing.F) {
	for name, file := range tinyHF(nil) {
		if name == "tokenizer.json" {
			f.Add(file.Data, []byte(`{"bos_token": "<s>"}`))
		}
	}
	for _, s := range []string{"", "null", "{}", `{"model":{"type":"BPE","vocab":{"a":5},"merges":[]}}`,
		`{"model":{"vocab":{"a":0,"b":1,"ab":2},"merges":[["a","b"]]},"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false}}`,
		`{"model":{"vocab":{"a":0},"merges":[]},"pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Split","behavior":"MergedWithNext","invert":true,"pattern":{"Regex":"[^\\s\\p{L}]?+a|(?i:'s)"}},{"type":"Punctuation"},{"type":"ByteLevel"}]}}`,
		`{"model":{"vocab":{"a":0},"merges":[]},"pre_tokenizer":{"type":"ByteLevel"},"post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"a"}},{},{"SpecialToken":{"id":"b"}}]}}`} {
		f.Add([]byte(s), []byte(`{"eos_token": null, "chat_template": [{"name":"default","template":"x"}]}`))
		f.Add([]byte(s), []byte(`{"eos_token": "a", "added_tokens_decoder": {"-1":{"content":"x"},"7":{"content":"<|y|>","lstrip":true},"99999999999":{},"0":{"content":"b"}}}`))
	}
	f.Fuzz(func(t *testing.T, tokenizer, config []byte) {
		v, err := VocabFromHF(fstest.MapFS{"tokenizer.json": {Data: tokenizer}, "tokenizer_config.json": {Data: config}}, HFOptions{})
		if err != nil {
			return
		}
		tok, err := New(v)
		if err != nil {
			return
		}
		for _, id := range tok.Encode("a b <s> é\n", EncodeOptions{AddSpecial: true, ParseSpecial: true}) {
			if id < 0 || int(id) >= tok.Size() {
				t.Fatalf("id %d in a vocabulary of %d", id, tok.Size())
			}
		}
	})
}
