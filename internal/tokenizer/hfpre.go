package tokenizer

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"qtool/internal/arch"
	"qtool/internal/printable"
)

// Parts of published expressions.
const (
	contractions  = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
	patternGPT2   = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
	patternSpaces = `|\s*[\r\n]+|\s+(?!\S)|\s+`
	patternUpper  = `[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`
	patternLower  = `[\p{Ll}\p{Lm}\p{Lo}\p{M}]`
	patternQwen2  = contractions + `|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*` + patternSpaces
	patternCJK    = "[一-龥ࠀ-一가-퟿]+"
)

// The published pipelines that are more than what the rules of their names do.
var (
	publishedGPT4o = [][]string{{patternUpper + "*" + patternLower + "+" + contractions + "?|" + patternUpper + "+" + patternLower + "*" + contractions + "?|" +
		`\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*` + patternSpaces}}
	publishedTekken = [][]string{{patternUpper + "*" + patternLower + "+|" + patternUpper + "+" + patternLower + "*|" +
		`\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*` + patternSpaces}}
	publishedFalcon      = [][]string{{patternPunct + "+", patternGPT2, `\p{N}+`, "[0-9][0-9][0-9]"}}
	publishedDeepSeekLLM = [][]string{{`[\r\n]`, patternDeepSeekLetters, `\s?[!-/:-~！-／：-～‘-‟　-。]+`, `\s+$`, patternCJK, `\p{N}`}}
	publishedDeepSeekV3  = [][]string{{`\p{N}{1,3}`, "[一-龥぀-ゟ゠-ヿ]+",
		"[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*" + patternSpaces}}
	publishedDeepSeekCoder = [][]string{{`[\r\n]`, `\s?\p{L}+`, `\s?\p{P}+`, patternCJK, `\p{N}`}}
	publishedLongCat       = [][]string{{patternQwen2, " ?[！-／：-～‘-‟　-。《》「」【】]+", patternCJK}}
	publishedYoutu         = [][]string{{"[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|[一-龥぀-ゟ゠-ヿ]+",
		patternUpper + "*" + patternLower + "+" + contractions + "?|" + patternUpper + "+" + patternLower + "*" + contractions + "?|" +
			`\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*` + patternSpaces}}
	publishedSuperBPE = [][]string{{`\p{N}+`, `(?=(\d{3})+(?!\d))`}}
)

// patternDeepSeekLetters spells out deepseekLetters as their file does.
var patternDeepSeekLetters = func() string {
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

// presWithBOS are names of models that put a BOS before a text, where others whose
// tokenizers cut alike do not.
var presWithBOS = []string{"deepseek-r1-qwen"}

// preTokenizersOf are the names that models of an architecture have. They go before others
// that cut alike, as llama.cpp knows them by their vocabularies.
func preTokenizersOf(architecture string) []string {
	if row := arch.Find(architecture); row != nil {
		return row.PreTokenizers
	}
	return nil
}

// findPre names the pre-tokenizer that cuts the probe as the folder's own one does.
func (v *Vocab) findPre(file *hfTokenizer, config *hfConfig, architecture string) (string, error) {
	rows, err := rowsLike(file.PreTokenizer)
	if err != nil {
		return "", fmt.Errorf("%w; %s", err, advice)
	}
	if len(rows) == 0 {
		return "", fmt.Errorf("%w: no known pre-tokenizer cuts text as this one does: %s; %s", ErrUnsupported, describe(file.PreTokenizer), advice)
	}
	stray := ""
	for _, c := range v.guesses(rows, file, config, architecture) {
		if c.rules.ignoreMerges == file.Model.IgnoreMerges {
			return c.name, nil
		}
		if stray, err = v.unmergeable(c.name); err != nil || stray == "" {
			return c.name, err
		}
	}
	return "", fmt.Errorf("%w: ignore_merges is %t, which decides on token %q, and is not so for any known pre-tokenizer that cuts like this one; %s",
		ErrUnsupported, file.Model.IgnoreMerges, stray, advice)
}

// preGuess is a name that a pre-tokenizer may have.
type preGuess struct {
	name  string
	rules *preRules
	score int
}

// guesses are the names of rows, the likeliest first.
func (v *Vocab) guesses(rows []*preRow, file *hfTokenizer, config *hfConfig, architecture string) (list []preGuess) {
	adds, known := config.addBOS != nil && *config.addBOS, preTokenizersOf(architecture)
	for _, row := range rows {
		for _, name := range row.names {
			c := preGuess{name, &row.rules, 0}
			// Later ones outweigh all before them.
			for weight, agrees := range []bool{
				slices.Contains(presWithBOS, name) == adds,
				row.rules.keepSpaces != config.tidies(),
				row.rules.noBOS == (v.BOS == None),
				row.rules.ignoreMerges == file.Model.IgnoreMerges,
				slices.Contains(known, name),
			} {
				if agrees {
					c.score += 1 << weight
				}
			}
			list = append(list, c)
		}
	}
	slices.SortStableFunc(list, func(a, b preGuess) int { return b.score - a.score })
	return list
}

// advice ends the errors about pre-tokenizers.
const advice = "if you know which one it is, name it with --pre"

// rowsLike finds the rows whose rules, or the pipelines that they stand for, cut the
// probe as a folder's pre_tokenizer does.
func rowsLike(pre *hfStep) (rows []*preRow, err error) {
	own, err := cuttersOf(pre.steps())
	if err != nil {
		return nil, err
	}
	cuts, err := cutProbe(own)
	if err != nil {
		return nil, err
	}
	for i := range preTable {
		row := &preTable[i]
		same := slices.Equal(cuts, row.rules.split.cutProbe())
		for _, p := range row.published {
			if same {
				break
			}
			if same, err = cutsLike(p, cuts); err != nil {
				return nil, err
			}
		}
		if same && row.names[0] != "" {
			rows = append(rows, row)
		}
	}
	return rows, nil
}

// partEnd ends the pieces of one part of the probe.
const partEnd = "\x00end"

// cutProbe is the pieces of the probe. Who was suspended meanwhile tries again: time
// that goes on far beyond the limit was not spent here.
func cutProbe(steps []cutter) (out []string, err error) {
	for range 5 {
		start := time.Now()
		out, err = cutProbeOnce(steps, start.Add(probeLimit))
		if !errors.Is(err, errSlow) || time.Since(start) < probeLimit+probeLimit/4 {
			break
		}
	}
	return out, err
}

func cutProbeOnce(steps []cutter, deadline time.Time) (out []string, err error) {
	for _, text := range probe {
		pieces, err := runCutters(steps, text, deadline)
		if err != nil {
			return nil, err
		}
		out = append(append(out, pieces...), partEnd)
	}
	return out, nil
}

func (m splitter) cutProbe() (out []string) {
	for _, text := range probe {
		m.split(text, 0, func(piece string, _ int) { out = append(out, piece) })
		out = append(out, partEnd)
	}
	return out
}

// cutsLike reports whether expressions cut the probe into these pieces.
func cutsLike(expressions []string, pieces []string) (bool, error) {
	steps := make([]hfStep, len(expressions))
	for i := range steps {
		steps[i] = hfStep{Type: "Split", Behavior: "Isolated"}
		steps[i].Pattern.Regex = &expressions[i]
	}
	cutters, err := cuttersOf(steps)
	if err != nil {
		return false, err
	}
	cuts, err := cutProbe(cutters)
	return slices.Equal(cuts, pieces), err
}

// describe tells what a pre_tokenizer does, for an error.
func describe(pre *hfStep) string {
	var parts []string
	for _, s := range pre.steps() {
		pattern, behavior, _ := s.cut()
		switch {
		case s.Type == "Split":
			parts = append(parts, fmt.Sprintf("Split at %q, %s", abridge(pattern), printable.Text(behavior)))
		case pattern == "":
			parts = append(parts, printable.Text(s.Type))
		default:
			parts = append(parts, fmt.Sprintf("%s at %q", printable.Text(s.Type), pattern))
		}
	}
	if parts == nil {
		return "nothing is cut"
	}
	return strings.Join(parts, "; ")
}

func abridge(s string) string {
	const longest = 400
	if len(s) <= longest {
		return s
	}
	return strings.ToValidUTF8(s[:longest], "") + "…"
}

// unmergeable is a token that merging alone does not make of its text, whether or
// not pre's rules would take it whole; "" if there is none.
func (v *Vocab) unmergeable(pre string) (string, error) {
	plain := *v
	plain.Pre = pre
	ids := make(map[string]int32, len(v.Tokens))
	for i, t := range v.Tokens {
		ids[t] = int32(i)
	}
	b, err := newBPE(&plain, ids)
	if err != nil {
		return "", err
	}
	b.rules.ignoreMerges = false
	s := newSession()
	var raw []byte
	for i, t := range v.Tokens {
		if v.Types[i] != Normal {
			continue
		}
		raw = unspell(raw[:0], t)
		if b.encodePiece(s, string(raw)); len(s.fresh) != 1 || s.fresh[0].id != int32(i) {
			return t, nil
		}
	}
	return "", nil
}
