package tokenizer

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"qtool/internal/sharedtest"
)

// splitAt is a pre_tokenizer of expressions before byte-level BPE.
func splitAt(patterns ...string) *hfStep {
	seq := &hfStep{Type: "Sequence"}
	for _, p := range patterns {
		s := hfStep{Type: "Split", Behavior: "Isolated"}
		s.Pattern.Regex = &p
		seq.Pretokenizers = append(seq.Pretokenizers, s)
	}
	no := false
	seq.Pretokenizers = append(seq.Pretokenizers, hfStep{Type: "ByteLevel", UseRegex: &no})
	return seq
}

func TestTheProbeTellsPreTokenizersApart(t *testing.T) {
	for i := range preTable {
		a := &preTable[i]
		for j := range preTable {
			b := &preTable[j]
			same := &a.rules.split[0] == &b.rules.split[0]
			if equal := slices.Equal(a.rules.split.cutProbe(), b.rules.split.cutProbe()); equal != same {
				t.Errorf("%s and %s cut the probe alike: %t, want %t", a.names[0], b.names[0], equal, same)
			}
		}
		for _, p := range a.published {
			rows, err := rowsLike(splitAt(p...))
			if err != nil || len(rows) != 1 || rows[0] != a {
				t.Errorf("%s as published is taken for %d rows, %v", a.names[0], len(rows), err)
			}
			if same, err := cutsLike(p, a.rules.split.cutProbe()); same || err != nil {
				t.Errorf("%s cuts as published, there is no need to say how that is: %v", a.names[0], err)
			}
		}
	}
}

// published are pre_tokenizers as the models' own files have them.
var published = []struct {
	model, arch  string
	patterns     []string
	json         string // if it is not a list of patterns
	ignoreMerges bool
	bos, addsBOS bool
	tidies       bool
	want         string
}{
	{model: "Llama 3", arch: "llama", patterns: []string{llama3Pattern}, ignoreMerges: true, bos: true, tidies: true, want: "llama-bpe"},
	{model: "SmolLM3", arch: "smollm3", patterns: []string{llama3Pattern}, ignoreMerges: true, want: "llama-bpe"},
	{model: "Smaug", arch: "llama", patterns: []string{llama3Pattern}, bos: true, tidies: true, want: "smaug-bpe"},
	{model: "OLMo 2", arch: "olmo2", json: `{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},"behavior":"Removed","invert":true},{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":false}]}`, want: "dbrx"},
	{model: "cl100k with possessive quantifiers", arch: "phi3", patterns: []string{`'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+`}, tidies: true, want: "dbrx"},
	{model: "GLM-4", arch: "glm4", patterns: []string{llama3Pattern}, want: "glm4"},
	{model: "GLM-4.5", arch: "glm4moe", patterns: []string{llama3Pattern}, bos: true, want: "glm4"},
	{model: "Qwen2.5", arch: "qwen2", patterns: []string{patternQwen2}, want: "qwen2"},
	{model: "DeepSeek-R1-Distill-Qwen", arch: "qwen2", patterns: []string{patternQwen2}, bos: true, addsBOS: true, want: "deepseek-r1-qwen"},
	{model: "Qwen3", arch: "qwen3moe", patterns: []string{patternQwen2}, want: "qwen2"},
	{model: "Megrez", arch: "llama", patterns: []string{patternQwen2}, tidies: true, bos: true, want: "megrez"},
	{model: "A.X 4.0", arch: "qwen2", json: byteLevelOnly, want: "a.x-4.0"},
	{model: "Ling 2", arch: "bailingmoe2", patterns: []string{`'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+`}, bos: true, want: "bailingmoe2"},
	{model: "Qwen3.5", arch: "qwen35", patterns: []string{contractions + `|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`}, want: "qwen35"},
	{model: "Seed-OSS", arch: "seed_oss", patterns: []string{"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1}| ?[^\\s\\p{L}\\p{N}\r\n]+|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"}, bos: true, want: "seed-coder"},
	{model: "MiniCPM5", arch: "llama", patterns: []string{`\p{N}{1,3}`, contractions + `|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`}, ignoreMerges: true, bos: true, want: "minicpm5"},
	{model: "gpt-oss", arch: "gpt-oss", patterns: publishedGPT4o[0], bos: true, want: "gpt-4o"},
	{model: "Phi-4-mini", arch: "phi3", patterns: publishedGPT4o[0], bos: true, want: "gpt-4o"},
	{model: "Kanana-2", arch: "deepseek2", patterns: publishedGPT4o[0], bos: true, want: "kanana2"},
	{model: "Mistral-Nemo", arch: "llama", patterns: publishedTekken[0], ignoreMerges: true, bos: true, want: "tekken"},
	{model: "GPT-2", arch: "", json: byteLevelOnly, bos: true, tidies: true, want: "gpt-2"},
	{model: "OLMoE", arch: "olmoe", json: byteLevelOnly, tidies: true, want: "olmo"},
	{model: "GigaChat", arch: "deepseek2", json: byteLevelOnly, bos: true, tidies: true, want: "gigachat"},
	{model: "Trillion", arch: "llama", json: byteLevelOnly, bos: true, want: "trillion"},
	{model: "SmolLM2", arch: "llama", json: digitsThenByteLevel, bos: true, want: "smollm"},
	{model: "Granite 3", arch: "granite", json: digitsThenByteLevel, bos: true, tidies: true, want: "refact"},
	{model: "Granite 3 MoE", arch: "granitemoe", json: digitsThenByteLevel, bos: true, tidies: true, want: "refact"},
	{model: "Granite code", arch: "llama", json: digitsThenByteLevel, bos: true, tidies: true, want: "refact"},
	{model: "DeepSeek-V2", arch: "deepseek2", json: hfPreTokenizers["deepseek-llm"], bos: true, want: "deepseek-llm"},
	{model: "DeepSeek-V3", arch: "deepseek2", patterns: publishedDeepSeekV3[0], bos: true, want: "deepseek-v3"},
	{model: "DeepSeek-Coder", arch: "llama", json: hfPreTokenizers["deepseek-coder"], bos: true, want: "deepseek-coder"},
	{model: "Falcon", arch: "", json: hfPreTokenizers["falcon"], bos: true, tidies: true, want: "falcon"},
	{model: "LongCat-Flash", arch: "longcat-flash", patterns: []string{patternQwen2, " ?[！-／：-～‘-‟　-。《》「」【】]+", patternCJK}, bos: true, want: "longcat-flash"},
	{model: "Viking", arch: "llama", patterns: []string{" ?[^(\\s|.,!?…。，、।۔،)]+", `\p{N}`}, bos: true, want: "viking"},
	{model: "OLMo 2 SuperBPE", arch: "olmo2", patterns: publishedSuperBPE[0], want: "superbpe"},
	{model: "Laguna", arch: "", patterns: []string{`[^\n]+|[\n]+`, patternQwen2}, bos: true, want: "laguna"},
}

const (
	llama3Pattern       = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	byteLevelOnly       = `{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true}`
	digitsThenByteLevel = `{"type":"Sequence","pretokenizers":[{"type":"Digits","individual_digits":true},{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true}]}`
)

func TestPublishedPreTokenizersAreRecognised(t *testing.T) {
	for _, c := range published {
		file := &hfTokenizer{PreTokenizer: splitAt(c.patterns...)}
		if c.json != "" {
			if err := json.Unmarshal([]byte(c.json), &file.PreTokenizer); err != nil {
				t.Fatal(err)
			}
		}
		file.Model.IgnoreMerges = c.ignoreMerges
		v := byteLevel("")
		if !c.bos {
			v.BOS = None
		}
		config := new(hfConfig)
		config.tokenizer.CleanUp, config.addBOS = &c.tidies, &c.addsBOS
		if got, err := v.findPre(file, config, c.arch); got != c.want {
			t.Errorf("%s: %q, %v; want %q", c.model, got, err, c.want)
		}
	}
}

func TestPatternsOfOnigurumaAreRewritten(t *testing.T) {
	for from, want := range map[string]string{
		`[^\r\n\p{L}]?+\p{L}+`:  `(?>[^\r\n\p{L}]?)\p{L}+`,
		`(?i:'s|'t)*+| ?[]x]++`: `(?>(?i:'s|'t)*)| ?(?>[]x]+)`,
		`\p{N}{1,3}a?+`:         `\p{N}{1,3}(?>a?)`,
		`a+?b|\+++`:             `a+?b|(?>\++)`,
	} {
		if got, err := atomic(from); got != want || err != nil {
			t.Errorf("%q became %q, %v; want %q", from, got, err, want)
		}
	}
	for _, bad := range []string{`[\p{L}&&[^\p{Han}]]+`, `[a[b]]`, `[a`, `(a`, `\p{Nothing}`, strings.Repeat("(", maxPattern), strings.Repeat("a", maxPattern+1)} {
		if _, err := compilePattern(bad); err == nil {
			t.Errorf("%.40q is taken", bad)
		}
	}
}

// TestDeepAndLongSequencesAreRefused has little text that would be much in memory.
func TestDeepAndLongSequencesAreRefused(t *testing.T) {
	for name, steps := range map[string]string{
		"deep": strings.Repeat(`{"type":"Sequence","pretokenizers":[`, 1000) + strings.Repeat(`]}`, 1000),
		"long": `{"type":"Sequence","pretokenizers":[` + strings.Repeat(`{"type":"Digits"},`, 100_000) + byteLevelOnly + `]}`,
	} {
		file := `{"model":{"type":"BPE","vocab":{"a":0},"merges":[]},"pre_tokenizer":` + steps + `}`
		_, err := VocabFromHF(fstest.MapFS{"tokenizer.json": {Data: []byte(file)}}, HFOptions{})
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "a sequence of steps takes") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestHostilePreTokenizersAreGivenUp has what would run or grow without end.
func TestHostilePreTokenizersAreGivenUp(t *testing.T) {
	start := sharedtest.CPUTime()
	for _, pre := range []*hfStep{
		splitAt(`(\w+\s?)+(?!.)y`, `((.+)+)+z`),
		splitAt(slices.Repeat([]string{`(x+x+)+y`}, maxSteps+1)...),
		splitAt(strings.Repeat(`(((((a{999}){999}){999}){999}){999})|`, 300)),
		splitAt(strings.Repeat("(?:", 5000) + strings.Repeat(")*", 5000)),
	} {
		if rows, _ := rowsLike(pre); len(rows) != 0 {
			t.Errorf("taken for %v", rows[0].names)
		}
	}
	if spent := sharedtest.CPUTime() - start; spent > 20*probeLimit {
		t.Errorf("took %v of a core", spent)
	}
}
