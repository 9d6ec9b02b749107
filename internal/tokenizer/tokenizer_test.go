package tokenizer

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"qtool/gguf"
	"qtool/internal/sharedtest"
)

// texts of the tokens ids.
func texts(t *Tokenizer, ids []int32) (out []string) {
	for _, id := range ids {
		out = append(out, t.Vocab().Tokens[id])
	}
	return out
}

func TestMergingFollowsRankThenPlace(t *testing.T) {
	tok := mustNew(t, byteLevel("gpt-2"))
	for text, want := range map[string]string{
		"hello hello": "hello|Ġhello",
		"hell":        "hell",
		"helhello":    "he|l|hello",
		"aaa":         "aa|a",
		"aaaaa":       "aaaa|a",
		"":            "",
	} {
		if got := strings.Join(texts(tok, tok.Encode(text, EncodeOptions{})), "|"); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

// randomPairs joins random neighbours: the sum of their ids, if that is in the table.
type randomPairs map[uint64]joined

func (p randomPairs) pair(_ string, left, right part) (uint32, int32, bool) {
	j, ok := p[pairKey(left.id, right.id)]
	return j.rank, j.id, ok
}

func TestScanAndQueueMergeAlike(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		table := randomPairs{}
		for range 60 {
			l, r := rng.Int32N(12), rng.Int32N(12)
			table[pairKey(l, r)] = joined{rng.Uint32N(20), rng.Int32N(12)}
		}
		var parts []part
		for i := range rng.IntN(100) {
			parts = append(parts, part{rng.Int32N(12), int32(i), int32(i) + 1})
		}
		scanned, queued := merger{parts: slices.Clone(parts)}, merger{parts: slices.Clone(parts)}
		scanned.scan(table, "")
		queued.queue(table, "")
		if !slices.Equal(scanned.parts, queued.parts) {
			t.Fatalf("%v\nscan  %v\nqueue %v", parts, scanned.parts, queued.parts)
		}
	}
}

func TestSpecialTokensAreCutOut(t *testing.T) {
	cases := []struct {
		text  string
		parse bool
		want  string
	}{
		{"a<tool>a", false, "a|<tool>|a"},
		{"<|bos|>a", true, "<|bos|>|a"},
		{"a<|im_end|><|im_end|>", true, "a|<|im_end|>|<|im_end|>"},
		{"<|bos|>", false, "<|||b|o|s|||>"},
	}
	tok := mustNew(t, byteLevel("gpt-2"))
	for _, c := range cases {
		if got := strings.Join(texts(tok, tok.Encode(c.text, EncodeOptions{ParseSpecial: c.parse})), "|"); got != c.want {
			t.Errorf("%q, parse %t: %s, want %s", c.text, c.parse, got, c.want)
		}
	}
}

func TestLongestSpecialTokenWins(t *testing.T) {
	v := byteLevel("gpt-2")
	v.Tokens = append(v.Tokens, "<tool>>", "<<tool>")
	v.Types = append(v.Types, UserDefined, UserDefined)
	tok := mustNew(t, v)
	for text, want := range map[string]string{"<<tool>>": "<|<tool>>", "<<tool>": "<<tool>", "<tool>": "<tool>"} {
		if got := strings.Join(texts(tok, tok.Encode(text, EncodeOptions{})), "|"); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

func TestStrippingTokensSwallowBlanks(t *testing.T) {
	v := byteLevel("gpt-2")
	v.LeftStrip, v.RightStrip = []int32{257}, []int32{258}
	tok := mustNew(t, v)
	for text, want := range map[string]string{"a \n<|im_end|> a": "a|<|im_end|>|Ġ|a", "a <tool> \ta": "a|Ġ|<tool>|a", "<tool> ": "<tool>"} {
		if got := strings.Join(texts(tok, tok.Encode(text, EncodeOptions{ParseSpecial: true})), "|"); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

func TestEncodeAddsWhatTheVocabularyAsksFor(t *testing.T) {
	v := byteLevel("gpt-2")
	v.AddBOS, v.AddEOS = true, true
	tok := mustNew(t, v)
	if got := tok.Encode("a", EncodeOptions{AddSpecial: true}); !slices.Equal(got, []int32{256, tok.ids["a"], 257}) {
		t.Errorf("a: %v", got)
	}
	if got := tok.Encode("", EncodeOptions{AddSpecial: true}); !slices.Equal(got, []int32{256, 257}) {
		t.Errorf("empty text: %v", got)
	}
	if got := tok.Encode("a", EncodeOptions{}); !slices.Equal(got, []int32{tok.ids["a"]}) {
		t.Errorf("without special tokens: %v", got)
	}
}

func TestATextThatBringsItsOwnSpecialTokensGetsNoSecondOnes(t *testing.T) {
	v := letters()
	v.AddBOS, v.AddEOS = true, true
	tok := mustNew(t, v)
	bos, eos := v.Tokens[v.BOS], v.Tokens[v.EOS]
	plain := tok.Encode("the", EncodeOptions{AddSpecial: true, ParseSpecial: true})
	for _, text := range []string{bos + "the", "the" + eos, bos + "the" + eos} {
		if got := tok.Encode(text, EncodeOptions{AddSpecial: true, ParseSpecial: true}); !slices.Equal(got, plain) {
			t.Errorf("%q: %v, want %v", text, got, plain)
		}
	}
	// A second one in the text is the writer's, and letters are letters.
	if got := tok.Encode(bos+bos+"the", EncodeOptions{AddSpecial: true, ParseSpecial: true}); len(got) != len(plain)+1 {
		t.Errorf("two in the text: %v, want one more than %v", got, plain)
	}
	if got := tok.Encode(bos+"the", EncodeOptions{AddSpecial: true}); got[0] != v.BOS || got[1] == v.BOS || len(got) <= len(plain) {
		t.Errorf("not parsed: %v", got)
	}
}

func TestUnknownCharactersWithoutBytesFuse(t *testing.T) {
	v := letters()
	n := slices.Index(v.Tokens, "<0x00>")
	v.Tokens, v.Scores, v.Types = v.Tokens[:n], v.Scores[:n], v.Types[:n]
	tok := mustNew(t, v)
	if got, want := strings.Join(texts(tok, tok.Encode("aÉÖ b", EncodeOptions{})), "|"), "▁|a|<unk>|▁|b"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestOffsetsPointAtTheText(t *testing.T) {
	text := "hello <|bos|>hello aaaaa é<tool> 中文 ok<|im_end|>."
	for _, pre := range []string{"gpt-2", "llama-bpe", "deepseek-v3"} {
		v := byteLevel(pre)
		v.AddBOS, v.AddEOS = true, true
		checkOffsets(t, mustNew(t, v), text)
	}
	v := letters()
	v.AddEOS = true
	checkOffsets(t, mustNew(t, v), "the then <s>the\n<tool>é the\xff the")
}

func checkOffsets(t *testing.T, tok *Tokenizer, text string) {
	t.Helper()
	opts := EncodeOptions{AddSpecial: true, ParseSpecial: true}
	ids, starts := tok.EncodeWithOffsets(text, opts)
	if !slices.Equal(ids, tok.Encode(text, opts)) {
		t.Fatalf("offsets change the ids of %q", text)
	}
	if len(ids) != len(starts) || starts[0] != 0 || starts[len(starts)-1] != len(text) {
		t.Fatalf("%d ids, starts %v of a text of %d bytes", len(ids), starts, len(text))
	}
	if !slices.IsSorted(starts) {
		t.Errorf("starts decrease: %v", starts)
	}
	for i := 1; i+1 < len(ids); i++ {
		part := text[starts[i]:starts[i+1]]
		if !utf8.ValidString(part) {
			continue // part of a character, or no character
		}
		piece := string(tok.Piece(ids[i]))
		if piece != part && piece != " "+part {
			t.Errorf("token %d is %q, its text %q", i, piece, part)
		}
	}
}

func TestOffsetsCoverRealText(t *testing.T) {
	text := string(sharedtest.Read(t, "data/text/wiki.test.raw"))[:30_000]
	for _, name := range []string{"llama-spm", "gpt-2"} {
		tok := mustNew(t, vocabNamed(t, name))
		ids, starts := tok.EncodeWithOffsets(text, EncodeOptions{})
		for i := range ids {
			end := len(text)
			if i+1 < len(ids) {
				end = starts[i+1]
			}
			if piece, part := string(tok.Piece(ids[i])), text[starts[i]:end]; utf8.ValidString(part) && utf8.ValidString(piece) && piece != part && piece != " "+part {
				t.Fatalf("%s: token %d is %q, its text %q", name, i, piece, part)
			}
		}
		if got := tok.Decode(ids, DecodeOptions{}); got != text {
			t.Errorf("%s: the text does not survive", name)
		}
	}
}

func TestGenerationEnds(t *testing.T) {
	build := func(extra ...string) *Tokenizer {
		v := byteLevel("gpt-2")
		v.EOS = 256
		for _, e := range extra {
			v.Tokens, v.Types = append(v.Tokens, e), append(v.Types, UserDefined)
		}
		return mustNew(t, v)
	}
	id := func(tok *Tokenizer, text string) int32 {
		id, ok := tok.Find(text)
		if !ok {
			t.Fatalf("%s is no token", text)
		}
		return id
	}
	plain := build("<|eot_id|>", "<|eom_id|>", "<|fim_pad|>")
	for text, want := range map[string]bool{"<|bos|>": true, "<|im_end|>": true, "<|eot_id|>": true, "<|eom_id|>": true, "<|fim_pad|>": true, "<tool>": false, "hello": false} {
		if got := plain.IsEOG(id(plain, text)); got != want {
			t.Errorf("%s ends a generation: %t", text, got)
		}
	}
	if plain.EOT() != id(plain, "<|eot_id|>") {
		t.Errorf("EOT is %d", plain.EOT())
	}
	if got := plain.Encode("<|eot_id|>", EncodeOptions{}); len(got) == 1 {
		t.Error("a token that ends a turn is made from plain text")
	}
	harmony := build("<|return|>", "<|call|>", "<|end|>", "<|channel|>")
	if harmony.IsEOG(id(harmony, "<|end|>")) || !harmony.IsEOG(id(harmony, "<|return|>")) {
		t.Error("gpt-oss ends at <|end|> or not at <|return|>")
	}
	if got := harmony.Encode("<|channel|>", EncodeOptions{}); len(got) != 1 {
		t.Error("gpt-oss's <|channel|> is not cut out")
	}
	if harmony.IsEOG(None) || harmony.IsEOG(1<<30) {
		t.Error("an id outside the vocabulary ends a generation")
	}
}

func TestDecodeUndoesEncode(t *testing.T) {
	spm := mustNew(t, letters())
	ids := spm.Encode(" the é.\n", EncodeOptions{AddSpecial: true})
	if got := spm.Decode(ids, DecodeOptions{}); got != " the é.\n" {
		t.Errorf("%q", got)
	}
	if got := spm.Decode(ids, DecodeOptions{ShowSpecial: true}); got != "<s> the é.\n" {
		t.Errorf("%q", got)
	}
	bpe := mustNew(t, byteLevel("gpt-2"))
	if got := bpe.Decode([]int32{256, -1, 1 << 20, bpe.ids["hello"]}, DecodeOptions{}); got != "hello" {
		t.Errorf("%q", got)
	}
}

func TestTidyingRemovesSpacesBeforePunctuation(t *testing.T) {
	const loose, tight = "I 'm here , you 're 't ' x ' !", "I'm here, you're 't'x '!"
	for pre, want := range map[string]string{"gpt-2": tight, "qwen2": loose} {
		tok := mustNew(t, byteLevel(pre))
		ids := tok.Encode(loose, EncodeOptions{})
		if got := tok.Decode(ids, DecodeOptions{TidySpaces: true}); got != want {
			t.Errorf("%s: %q, want %q", pre, got, want)
		}
		if got := tok.Decode(ids, DecodeOptions{}); got != loose {
			t.Errorf("%s: %q without being asked", pre, got)
		}
	}
}

func TestDecoderHoldsBackUnfinishedCharacters(t *testing.T) {
	tok := mustNew(t, byteLevel("gpt-2"))
	d := tok.NewDecoder(DecodeOptions{})
	var steps []string
	for _, id := range tok.Encode("é😀a\xff", EncodeOptions{}) {
		steps = append(steps, d.Next(id))
	}
	if want := []string{"", "é", "", "", "", "😀", "a", "", "", "\ufffd"}; !slices.Equal(steps, want) {
		t.Errorf("%q, want %q", steps, want)
	}
	d.Next(tok.bytesOf("😀")[0])
	if got := d.Flush() + d.Flush(); got != "\xf0" {
		t.Errorf("flushed %q", got)
	}
	d.Next(tok.bytesOf("😀")[0])
	if got := d.Next(tok.ids["a"]); got != "\xf0a" {
		t.Errorf("broken character gives %q", got)
	}
}

// bytesOf is the single-byte tokens of text.
func (t *Tokenizer) bytesOf(text string) (ids []int32) {
	for _, b := range []byte(text) {
		ids = append(ids, t.ids[string(byteAlphabet[b])])
	}
	return ids
}

// TestHostileTextTakesLinearTime gives seconds of a core to what takes milliseconds;
// anything quadratic would take minutes.
func TestHostileTextTakesLinearTime(t *testing.T) {
	spm := letters()
	spm.Tokens = append(spm.Tokens, "aa", "aaaa", "aaaaaaaa", "▁▁", "▁▁▁▁")
	spm.Scores = append(spm.Scores, -5, -4, -3, -2, -1)
	spm.Types = append(spm.Types, Normal, Normal, Normal, Normal, Normal)
	toks := map[string]*Tokenizer{"spm": mustNew(t, spm)}
	for _, row := range preTable {
		toks[row.names[0]] = mustNew(t, byteLevel(row.names[0]))
	}
	for _, name := range []string{"spm", "gpt-2"} {
		toks[name].Encode(strings.Repeat("a", 1<<20), EncodeOptions{})
	}
	for _, unit := range []string{"a", " ", " \n", "1", "!", "A", "Ж", "'", "<tool>", "\xff", "~", "ЖA"} {
		text := strings.Repeat(unit, 1<<15/len(unit))
		for name, tok := range toks {
			start := sharedtest.CPUTime()
			tok.Encode(text, EncodeOptions{ParseSpecial: true})
			if took := sharedtest.CPUTime() - start; took > 5*time.Second {
				t.Errorf("%s: %d KB of %q took %v of a core", name, len(text)>>10, unit, took)
			}
		}
	}
}

func TestConcurrentEncodersAgree(t *testing.T) {
	for _, v := range []*Vocab{letters(), byteLevel("llama-bpe")} {
		tok := mustNew(t, v)
		text := strings.Repeat("the hello then aaaa é. ", 50)
		want := tok.Encode(text, EncodeOptions{})
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 20 {
					if !slices.Equal(tok.Encode(text, EncodeOptions{}), want) {
						t.Error("ids differ")
					}
				}
			})
		}
		wg.Wait()
	}
}

func TestForgettingPiecesChangesNothing(t *testing.T) {
	tok := mustNew(t, byteLevel("gpt-2"))
	s := newSession()
	for i := range mostKnown + 10 {
		s.known[string(rune(i+0x10000))] = nil
	}
	tok.sessions.Put(s)
	if got := texts(tok, tok.Encode("hello hello", EncodeOptions{})); !slices.Equal(got, []string{"hello", "Ġhello"}) {
		t.Errorf("%q", got)
	}
}

func TestVocabularyProblemsAreNamed(t *testing.T) {
	good := func() *gguf.Metadata {
		md := &gguf.Metadata{}
		byteLevel("gpt-2").WriteMetadata(md)
		return md
	}
	cases := []struct {
		name string
		edit func(*gguf.Metadata)
		want error
		says string
	}{
		{"no model", func(m *gguf.Metadata) { m.Delete("tokenizer.ggml.model") }, ErrNoVocab, "none"},
		{"none", func(m *gguf.Metadata) { m.Set("tokenizer.ggml.model", "no_vocab") }, ErrNoVocab, "no_vocab"},
		{"bert", func(m *gguf.Metadata) { m.Set("tokenizer.ggml.model", "bert") }, ErrUnsupported, "bert"},
		{"pre", func(m *gguf.Metadata) { m.Set("tokenizer.ggml.pre", "martian") }, ErrUnsupported, "martian"},
		{"no tokens", func(m *gguf.Metadata) { m.Delete("tokenizer.ggml.tokens") }, gguf.ErrMissing, "tokens"},
		{"no merges", func(m *gguf.Metadata) { m.Delete("tokenizer.ggml.merges") }, gguf.ErrMissing, "merges"},
		{"bad merge", func(m *gguf.Metadata) { m.Set("tokenizer.ggml.merges", []string{"ab"}) }, ErrInvalid, `"ab"`},
		{"few types", func(m *gguf.Metadata) { m.Set("tokenizer.ggml.token_type", []int32{1}) }, ErrInvalid, "token_type"},
		{"twins", func(m *gguf.Metadata) {
			m.Set("tokenizer.ggml.tokens", []string{"a", "a"})
			m.Set("tokenizer.ggml.bos_token_id", uint32(0))
		}, ErrInvalid, "both"},
		{"empty", func(m *gguf.Metadata) { m.Set("tokenizer.ggml.tokens", []string{}) }, ErrInvalid, "no tokens"},
		{"BOS", func(m *gguf.Metadata) {
			m.Set("tokenizer.ggml.tokens", []string{"a"})
			m.Delete("tokenizer.ggml.bos_token_id")
			m.Set("tokenizer.ggml.add_bos_token", true)
		}, ErrInvalid, "BOS"},
	}
	for _, c := range cases {
		md := good()
		c.edit(md)
		v, err := VocabFromMetadata(md)
		if err == nil {
			_, err = New(v)
		}
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestDefaultsFollowThePreTokenizer(t *testing.T) {
	for pre, want := range map[string]struct {
		addBOS bool
		bos    int32
	}{"llama-bpe": {true, 11}, "tekken": {true, 11}, "qwen2": {false, 11}, "glm4": {false, None}} {
		v := byteLevel(pre)
		v.BOS = None
		md := &gguf.Metadata{}
		v.WriteMetadata(md)
		got, err := VocabFromMetadata(md)
		if err != nil {
			t.Fatal(err)
		}
		if got.AddBOS != want.addBOS || got.BOS != want.bos || got.Explicit.AddBOS {
			t.Errorf("%s: add BOS %t, BOS %d, stated %t", pre, got.AddBOS, got.BOS, got.Explicit.AddBOS)
		}
	}
}

func FuzzEncode(f *testing.F) {
	for i, s := range []string{"", " ", "hello  hello\n\n\n", "aaaaaaa<tool><|bos|>", "don't I'LL 1234567", "é中文！。\u3000\u200b", "\xff\xfeA", "ЖABC~é /\r\n "} {
		f.Add(uint8(i*3), s)
	}
	var toks []*Tokenizer
	for _, row := range preTable {
		toks = append(toks, mustNew(f, byteLevel(row.names[0])))
	}
	v := letters()
	v.AddSpacePrefix = false
	toks = append(toks, mustNew(f, v))
	f.Fuzz(func(t *testing.T, which uint8, text string) {
		tok := toks[int(which)%len(toks)]
		opts := EncodeOptions{ParseSpecial: which >= 128}
		ids, starts := tok.EncodeWithOffsets(text, opts)
		if len(ids) != len(starts) || !slices.IsSorted(starts) || len(starts) > 0 && (starts[0] != 0 || starts[len(starts)-1] >= len(text)) {
			t.Fatalf("%q: starts %v", text, starts)
		}
		want := text
		if tok.Vocab().Model == ModelBPE {
			want = string([]rune(text)) // each invalid byte becomes U+FFFD
		} else {
			want = strings.ReplaceAll(text, blankMark, " ")
		}
		if got := tok.Decode(ids, DecodeOptions{ShowSpecial: true}); got != want {
			t.Fatalf("%q comes back as %q", text, got)
		}
	})
}
