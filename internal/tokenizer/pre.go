package tokenizer

import (
	"fmt"
	"slices"
)

// preRules is what the name of a pre-tokenizer stands for: how text is cut and
// the flags that llama.cpp ties to the name.
type preRules struct {
	split splitter
	// whole pieces that are tokens are taken without merging
	ignoreMerges bool
	addBOS       bool
	noBOS        bool // no default id for BOS
	keepSpaces   bool // decoding never tidies spaces before punctuation
}

var (
	oneDigit   = (&runRules{set: number, longest: 1}).match
	digits     = (&runRules{set: number}).match
	threeASCII = (&runRules{has: isASCIIDigit, least: 3, longest: 3}).match
	upTo3      = (&runRules{set: number, longest: 3}).match
	oneLineEnd = (&runRules{has: isLineEnd, longest: 1}).match
	cjkRuns    = (&runRules{has: cjk}).match
	llama3     = wordRules{word: letter, digits: 3, tail: "\r\n"}.match
	qwen2      = wordRules{word: letter, digits: 1, tail: "\r\n"}.match
)

// The ways of cutting, by the model that brought them.
var (
	splitGPT2      = splitter{gpt2Words}
	splitStarcoder = splitter{oneDigit, gpt2Words}
	splitLlama3    = splitter{llama3}
	splitQwen2     = splitter{qwen2}
	splitQwen35    = splitter{wordRules{word: letter | mark, digits: 1, tail: "\r\n"}.match}
	splitSeedCoder = splitter{wordRules{word: letter, digits: 1}.match}
	splitMiniCPM5  = splitter{upTo3, wordRules{word: letter, tail: "\r\n"}.match}
	splitLaguna    = splitter{lines, qwen2}
	splitGPT4o     = splitter{caseRules{digits: 3, contractions: true}.match}
	splitTekken    = splitter{caseRules{digits: 1}.match}
	splitDefault   = splitter{(&runRules{set: punct, has: mathSign}).match, gpt2Words, digits, threeASCII}
	splitFalcon    = splitter{(&runRules{set: punct, has: mathSignOrTick}).match, gpt2Words, threeASCII}
	splitLongCat   = splitter{qwen2, (&runRules{has: longcatPunct, before: oneBlank}).match, cjkRuns}

	splitDeepSeekLLM = splitter{
		oneLineEnd,
		(&runRules{table: deepseekLetters, before: oneSpace}).match,
		(&runRules{has: asciiOrWidePunct, before: oneSpace}).match,
		trailingSpaces,
		cjkRuns,
		digits,
	}
	splitDeepSeekCoder = splitter{
		oneLineEnd,
		(&runRules{set: letter, before: oneSpace}).match,
		(&runRules{set: punct, before: oneSpace}).match,
		cjkRuns,
		oneDigit,
	}
	splitDeepSeekV3 = splitter{upTo3, (&runRules{has: hanKana}).match, deepseekWords}

	splitKimi     = splitter{kimiWords}
	splitYoutu    = splitter{youtuRuns, youtuWords}
	splitBloom    = splitter{(&runRules{has: bloomWord, before: oneBlank}).match}
	splitViking   = splitter{(&runRules{has: bloomWord, before: oneBlank}).match, oneDigit}
	splitSuperBPE = splitter{digits, threesFromRight}
)

// A preRow has one set of rules and all the names that stand for it.
type preRow struct {
	rules preRules
	names []string
	// published are the expressions of the models' own tokenizers, each applied to
	// the pieces of the one before, where llama.cpp's and ours approximate them.
	published [][]string
}

// preTable has one row per set of rules.
var preTable = []preRow{
	{preRules{split: splitDefault}, []string{"", "default"}, nil},
	{preRules{split: splitLlama3, ignoreMerges: true, addBOS: true},
		[]string{"llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "jina-v5-nano"}, nil},
	{preRules{split: splitLlama3}, []string{"dbrx", "smaug-bpe"}, nil},
	{preRules{split: splitLlama3, noBOS: true}, []string{"glm4", "chatglm-bpe"}, nil},
	{preRules{split: splitQwen2, keepSpaces: true}, []string{"qwen2", "deepseek-r1-qwen", "kormo", "f2llmv2",
		"hunyuan", "solar-open", "grok-2", "bailingmoe", "bailingmoe2", "llada-moe"}, nil},
	{preRules{split: splitQwen2}, []string{"stablelm2", "megrez"}, nil},
	{preRules{split: splitQwen35, keepSpaces: true}, []string{"qwen35"}, nil},
	{preRules{split: splitSeedCoder, keepSpaces: true}, []string{"seed-coder"}, nil},
	{preRules{split: splitMiniCPM5, ignoreMerges: true}, []string{"minicpm5"}, nil},
	{preRules{split: splitLaguna, keepSpaces: true}, []string{"laguna"}, nil},
	{preRules{split: splitGPT4o, keepSpaces: true}, []string{"gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"}, publishedGPT4o},
	{preRules{split: splitTekken, ignoreMerges: true, addBOS: true, keepSpaces: true}, []string{"tekken"}, publishedTekken},
	{preRules{split: splitGPT2}, []string{"gpt-2", "phi-2", "mpt", "olmo", "jais", "jina-es", "jina-de", "gigachat",
		"jina-v2-es", "jina-v2-de", "a.x-4.0", "mellum", "modern-bert", "exaone4"}, nil},
	{preRules{split: splitGPT2, keepSpaces: true}, []string{"trillion", "granite-docling"}, nil},
	{preRules{split: splitStarcoder}, []string{"starcoder", "refact", "codeshell", "exaone", "minerva-7b", "mellum2"}, nil},
	{preRules{split: splitStarcoder, keepSpaces: true}, []string{"smollm", "command-r"}, nil},
	{preRules{split: splitFalcon}, []string{"falcon"}, publishedFalcon},
	{preRules{split: splitDeepSeekLLM, keepSpaces: true}, []string{"deepseek-llm"}, publishedDeepSeekLLM},
	{preRules{split: splitDeepSeekCoder, keepSpaces: true}, []string{"deepseek-coder"}, publishedDeepSeekCoder},
	{preRules{split: splitDeepSeekV3, keepSpaces: true}, []string{"deepseek-v3", "hunyuan-dense", "joyai-llm"}, publishedDeepSeekV3},
	{preRules{split: splitLongCat, keepSpaces: true}, []string{"longcat-flash", "longcat"}, publishedLongCat},
	{preRules{split: splitKimi, keepSpaces: true}, []string{"kimi-k2"}, nil},
	{preRules{split: splitYoutu, ignoreMerges: true, keepSpaces: true}, []string{"youtu"}, publishedYoutu},
	{preRules{split: splitBloom, keepSpaces: true}, []string{"poro-chat"}, nil},
	{preRules{split: splitBloom}, []string{"bloom", "gpt3-finnish"}, nil},
	{preRules{split: splitViking, keepSpaces: true}, []string{"viking"}, nil},
	{preRules{split: splitSuperBPE, keepSpaces: true}, []string{"superbpe"}, publishedSuperBPE},
}

// preRulesOf finds the rules of a pre-tokenizer by name.
func preRulesOf(name string) (preRules, error) {
	for i := range preTable {
		if slices.Contains(preTable[i].names, name) {
			return preTable[i].rules, nil
		}
	}
	return preRules{}, fmt.Errorf("%w: the pre-tokenizer %q is not known", ErrUnsupported, name)
}

// PreTokenizers lists the names of the pre-tokenizers that are known, sorted.
func PreTokenizers() (names []string) {
	for _, row := range preTable {
		names = append(names, row.names...)
	}
	slices.Sort(names)
	return names[1:] // without ""
}
