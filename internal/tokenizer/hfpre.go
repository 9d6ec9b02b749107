package tokenizer

import (
	"fmt"
	"slices"
	"strings"
)

// contractions is the group that most expressions share, in one of its spellings.
const contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"

// sameRegex are spellings of the same thing; the right one is compared.
var sameRegex = strings.NewReplacer(
	"\r", `\r`, "\n", `\n`,
	"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])", contractions,
	"'(?i:[sdmt]|ll|ve|re)", contractions,
	`\p{N}{1}`, `\p{N}`,
	"?+", "?", "++", "+", // possessive: nothing here would give back
)

const (
	regexGPT2   = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
	regexSpaces = `|\s*[\r\n]+|\s+(?!\S)|\s+`
	regexWord   = contractions + `|[^\r\n\p{L}\p{N}]?\p{L}+|`
	regexPunct  = `| ?[^\s\p{L}\p{N}]+`
	regexLlama3 = regexWord + `\p{N}{1,3}` + regexPunct + `[\r\n]*` + regexSpaces
	regexQwen2  = regexWord + `\p{N}` + regexPunct + `[\r\n]*` + regexSpaces
	regexUpper  = `[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`
	regexLower  = `[\p{Ll}\p{Lm}\p{Lo}\p{M}]`
	regexCJK    = "[一-龥ࠀ-一가-퟿]+"
)

// The steps of pre-tokenizers that are no regular expression, as they are compared.
const (
	stepDigit  = "each digit"
	stepDigits = "digits"
	stepPunct  = "punctuation"
)

// hfPres says which pre-tokenizers consist of which steps. Of several names the
// first that agrees with the rest of the file is taken.
var hfPres = []struct {
	names []string
	steps []string
}{
	{[]string{"gpt-2", "trillion"}, []string{regexGPT2}},
	{[]string{"starcoder", "smollm"}, []string{stepDigit, regexGPT2}},
	{[]string{"starcoder", "smollm"}, []string{`\p{N}`, regexGPT2}},
	{[]string{"llama-bpe", "dbrx", "glm4"}, []string{regexLlama3}},
	{[]string{"qwen2", "stablelm2"}, []string{regexQwen2}},
	{[]string{"bailingmoe"}, []string{regexWord + `\p{N}` + regexPunct + `[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+`}},
	{[]string{"qwen35"}, []string{contractions + `|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*` + regexSpaces}},
	{[]string{"seed-coder"}, []string{regexWord + `\p{N}` + `| ?[^\s\p{L}\p{N}\r\n]+` + regexSpaces}},
	{[]string{"minicpm5"}, []string{`\p{N}{1,3}`, regexWord + `\p{N}+` + regexPunct + `[\r\n]*` + regexSpaces}},
	{[]string{"gpt-4o"}, []string{regexUpper + "*" + regexLower + "+" + contractions + "?|" + regexUpper + "+" + regexLower + "*" + contractions + "?|" +
		`\p{N}{1,3}` + regexPunct + `[\r\n/]*` + regexSpaces}},
	{[]string{"tekken"}, []string{regexUpper + "*" + regexLower + "+|" + regexUpper + "+" + regexLower + "*|" +
		`\p{N}` + regexPunct + `[\r\n/]*` + regexSpaces}},
	{[]string{"falcon"}, []string{stepPunct, regexGPT2, stepDigits, "[0-9][0-9][0-9]"}},
	{[]string{"deepseek-llm"}, deepseekSteps(regexDeepSeekLetters, `\s?[!-/:-~！-／：-～‘-‟　-。]+`, `\s+$`, regexCJK, stepDigit)},
	{[]string{"deepseek-llm"}, deepseekSteps(regexDeepSeekLetters, `\s?[!-/:-~！-／：-～‘-‟　-。]+`, `\s+$`, regexCJK, stepDigits)},
	{[]string{"deepseek-coder"}, deepseekSteps(`\s?\p{L}+`, `\s?\p{P}+`, regexCJK, stepDigit)},
	{[]string{"deepseek-v3"}, []string{`\p{N}{1,3}`, "[一-龥぀-ゟ゠-ヿ]+",
		"[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*" + regexSpaces}},
	{[]string{"longcat-flash"}, []string{regexQwen2, " ?[！-／：-～‘-‟　-。《》「」【】]+", regexCJK}},
}

func deepseekSteps(rest ...string) []string { return append([]string{`[\r\n]`}, rest...) }

// regexDeepSeekLetters spells out deepseekLetters as their file does.
var regexDeepSeekLetters = func() string {
	var b strings.Builder
	b.WriteString(`\s?[`)
	put := func(lo, hi rune) {
		b.WriteRune(lo)
		switch {
		case hi > lo+1:
			b.WriteByte('-')
			fallthrough
		case hi > lo:
			b.WriteRune(hi)
		}
	}
	for _, r := range deepseekLetters.R16 {
		put(rune(r.Lo), rune(r.Hi))
	}
	for _, r := range deepseekLetters.R32 {
		put(rune(r.Lo), rune(r.Hi))
	}
	b.WriteString("]+")
	return b.String()
}()

// recognisePre names the pre-tokenizer of a byte-level model.
func recognisePre(file *hfTokenizer, noBOS, tidies bool) (string, error) {
	steps, err := comparableSteps(file.PreTokenizer.steps())
	if err != nil {
		return "", err
	}
	for _, known := range hfPres {
		if !slices.Equal(known.steps, steps) {
			continue
		}
		best, bestScore := "", -1
		for _, name := range known.names {
			rules, err := preRulesOf(name)
			if err != nil {
				return "", err
			}
			// Merging decides on ids, the other two only on defaults.
			score := 0
			for weight, agrees := range []bool{rules.keepSpaces != tidies, rules.noBOS == noBOS, rules.ignoreMerges == file.Model.IgnoreMerges} {
				if agrees {
					score += 1 << weight
				}
			}
			if score > bestScore {
				best, bestScore = name, score
			}
		}
		return best, nil
	}
	return "", fmt.Errorf("%w: no known pre-tokenizer splits by %q", ErrUnsupported, steps)
}

// comparableSteps spells the steps as hfPres does.
func comparableSteps(steps []hfStep) (out []string, err error) {
	for _, s := range steps {
		switch s.Type {
		case "Split":
			isolated := s.Behavior == "Isolated" && !s.Invert
			if s.Pattern.Regex == nil || !isolated && !(s.Behavior == "Removed" && s.Invert && len(out) == 0) {
				return nil, fmt.Errorf("%w: a pre-tokenizer that splits as %s (invert: %t)", ErrUnsupported, s.Behavior, s.Invert)
			}
			out = append(out, sameRegex.Replace(*s.Pattern.Regex))
		case "Digits":
			if s.IndividualDigits {
				out = append(out, stepDigit)
			} else {
				out = append(out, stepDigits)
			}
		case "Punctuation":
			if s.Behavior != "Contiguous" {
				return nil, fmt.Errorf("%w: a pre-tokenizer that splits punctuation as %s", ErrUnsupported, s.Behavior)
			}
			out = append(out, stepPunct)
		case "ByteLevel":
			if s.AddPrefixSpace != nil && *s.AddPrefixSpace {
				return nil, fmt.Errorf("%w: byte-level BPE that adds a space before the text", ErrUnsupported)
			}
			if s.UseRegex == nil || *s.UseRegex {
				out = append(out, regexGPT2)
			}
		default:
			return nil, fmt.Errorf("%w: the pre-tokenizer %s", ErrUnsupported, s.Type)
		}
	}
	return out, nil
}
