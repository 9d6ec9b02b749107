package tokenizer

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode"

	"qtool/internal/sharedtest"

	"github.com/dlclark/regexp2"
)

// The regular expressions of llama.cpp for each way of splitting, applied as it
// applies them.
var (
	refContraction = `(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])`
	refSpaces      = `|\s*[\r\n]+|\s+(?!\S)|\s+`
	refGPT2        = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
	refQwen2       = refContraction + `|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*` + refSpaces
	refUpper       = `[^\r\n\p{L}\p{N}]?((?=[\p{L}])([^a-z]))`
	refLower       = `((?=[\p{L}])([^A-Z]))`
	refCJK         = "[一-龥ࠀ-一가-\uD7FF]+"
	refHan         = "[\u3400-\u4DBF\u4E00-\u9FFF\uF900-\uFAFF\U00020000-\U0002A6DF\U0002A700-\U0002EBEF\U0002F800-\U0002FA1F]"
	refBloom       = ` ?[^(\s|.,!?…。，、।۔،)]+`
	refASCIIPunct  = "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~]"
)

type referenceOf struct {
	pre   string
	exprs []string
	exact bool // over the text itself, not over one sign per character
}

var references = []referenceOf{
	{"llama-bpe", []string{refContraction + `|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*` + refSpaces}, false},
	{"qwen2", []string{refQwen2}, false},
	{"qwen35", []string{refContraction + `|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*` + refSpaces}, false},
	{"seed-coder", []string{refContraction + `|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+` + refSpaces}, false},
	{"minicpm5", []string{`\p{N}{1,3}`, refContraction + `|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+| ?[^\s\p{L}\p{N}]+[\r\n]*` + refSpaces}, false},
	{"laguna", []string{`[^\n]+|[\n]+`, refQwen2}, false},
	{"bailingmoe", []string{`'(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+`}, false},
	{"gpt-4o", []string{refUpper + "*" + refLower + "+" + refContraction + "?|" + refUpper + "+" + refLower + "*" + refContraction + `?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*` + refSpaces}, false},
	{"tekken", []string{refUpper + "*" + refLower + "+|" + refUpper + "+" + refLower + `*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*` + refSpaces}, false},
	{"gpt-2", []string{refGPT2}, false},
	{"starcoder", []string{`\p{N}`, refGPT2}, false},
	{"default", []string{`[\p{P}\$\+<=>\^~\|]+`, refGPT2, `\p{N}+`, `[0-9][0-9][0-9]`}, false},
	{"falcon", []string{"[\\p{P}\\$\\+<=>\\^~\\|`]+", refGPT2, `[0-9][0-9][0-9]`}, false},
	{"deepseek-llm", []string{`[\r\n]`, patternDeepSeekLetters, `\s?[!-/:-~！-／：-～‘-‟　-。]+`, `\s+$`, refCJK, `\p{N}+`}, false},
	{"deepseek-coder", []string{`[\r\n]`, `\s?\p{L}+`, `\s?\p{P}+`, refCJK, `\p{N}`}, false},
	{"deepseek-v3", []string{`\p{N}{1,3}`, `[一-龥぀-ゟ゠-ヿ]+`,
		refASCIIPunct + `[A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*` + refSpaces}, false},
	{"longcat-flash", []string{refQwen2, ` ?[！-／：-～‘-‟　-。《》「」【】]+`, refCJK}, false},
	{"kimi-k2", []string{refHan + `+|[^\r\n\p{L}\p{N}]?(?:(?!` + refHan + `)\p{L})+` + refContraction + `?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*` + refSpaces}, true},
	{"youtu", []string{"[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|[一-龥぀-ゟ゠-ヿ]+",
		`[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]*[\p{L}\p{M}]+` + refContraction + `?|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+[\p{L}\p{M}]*` + refContraction + `?|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*` + refSpaces}, false},
	{"bloom", []string{refBloom}, false},
	{"viking", []string{refBloom, `\p{N}`}, false},
	{"superbpe", []string{`\p{N}+`, `(?=([0-9]{3})+(?![0-9]))`}, false},
}

type category struct {
	name  string
	table *unicode.RangeTable
	sign  rune
	ascii string
}

// collapse stands for a category by one character in texts, and by that and its
// ASCII members in expressions.
var collapse = []category{
	{`\p{N}`, unicode.N, 0xD1, `0-9`},
	{`\p{L}`, unicode.L, 0xD2, `A-Za-z`},
	{`\p{P}`, unicode.P, 0xD3, `!-#%-*,-/:-;?-@\[-\]_\{\}`},
	{`\p{M}`, unicode.M, 0xD4, ``},
	{`\p{S}`, unicode.S, 0xD5, "\\$\\+<->\\^`\\|"},
}

type reference []refStep

type refStep struct {
	expr      *regexp2.Regexp
	collapsed bool // the text is one sign per category
}

func compileReference(r referenceOf) (ref reference) {
	for _, e := range r.exprs {
		if r.exact {
			ref = append(ref, refStep{regexp2.MustCompile(e, regexp2.None), false})
			continue
		}
		var b strings.Builder
		inside, collapsed := false, false
		for i := 0; i < len(e); i++ {
			if e[i] == '[' && (i == 0 || e[i-1] != '\\') {
				inside = true
			} else if e[i] == ']' && e[i-1] != '\\' {
				inside = false
			}
			at := slices.IndexFunc(collapse, func(c category) bool { return strings.HasPrefix(e[i:], c.name) })
			if at < 0 {
				b.WriteByte(e[i])
				continue
			}
			collapsed = true
			members := string(collapse[at].sign) + collapse[at].ascii
			if !inside {
				members = "[" + members + "]"
			}
			b.WriteString(members)
			i += len(collapse[at].name) - 1
		}
		ref = append(ref, refStep{regexp2.MustCompile(b.String(), regexp2.None), collapsed})
	}
	return ref
}

// split cuts text as llama.cpp does: expressions one after the other, each on
// the pieces of the one before, over texts with one sign per character.
func (ref reference) split(text string) []string {
	plain := []rune(text)
	wide, signs := slices.Clone(plain), slices.Clone(plain)
	for i, r := range plain {
		if r < 0x80 {
			continue
		}
		signs[i] = 0xD0
		for _, c := range collapse {
			if unicode.Is(c.table, r) {
				signs[i] = c.sign
			}
		}
		if unicode.Is(unicode.White_Space, r) {
			wide[i], signs[i] = '\v', '\v'
		}
	}
	cuts := []int{0, len(plain)}
	for _, step := range ref {
		over := wide
		if step.collapsed {
			over = signs
		}
		next := []int{0}
		cut := func(at int) {
			if at > next[len(next)-1] {
				next = append(next, at)
			}
		}
		for i := 1; i < len(cuts); i++ {
			m, err := step.expr.FindRunesMatch(over[cuts[i-1]:cuts[i]])
			for ; m != nil && err == nil; m, err = step.expr.FindNextMatch(m) {
				cut(cuts[i-1] + m.Index)
				cut(cuts[i-1] + m.Index + m.Length)
			}
			cut(cuts[i])
		}
		cuts = next
	}
	var pieces []string
	for i := 1; i < len(cuts); i++ {
		pieces = append(pieces, string(plain[cuts[i-1]:cuts[i]]))
	}
	return pieces
}

func piecesOf(s splitter, text string) (pieces []string) {
	s.split(text, 0, func(piece string, _ int) { pieces = append(pieces, piece) })
	return pieces
}

// alphabet has characters of every kind that an expression tells apart.
var alphabet = []rune("aZsStdDlLvVeErRmM''''0129    \t\n\r\n\v\u00a0\u3000\u2003\u0085~!\"$/_(#.`^|+<>\\[]-" +
	"éЖдßǅʰªא中文،।㐀豈㆐ㆎㄅ…，﹏龦가\uD7FF\u9fa6ࠀぁアㄱ٣²Ⅷ½\u0301\u0903\u20dd€™∑😀「」！～‘。\u200b\ufeff\u00ad\u0000\x1c\x7f\ue000\U000e0001")

func TestScannersEqualRegularExpressions(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var texts []string
	for range 1500 {
		text := make([]rune, rng.IntN(24))
		for i := range text {
			text[i] = alphabet[rng.IntN(len(alphabet))]
			if rng.IntN(16) == 0 {
				for text[i] = 0xD800; text[i] >= 0xD800 && text[i] < 0xE000 || newlyAssigned(text[i]); {
					text[i] = rng.Int32N(0x30000)
				}
			}
		}
		texts = append(texts, string(text))
	}
	for _, r := range references {
		rules, err := preRulesOf(r.pre)
		if err != nil {
			t.Fatal(err)
		}
		ref := compileReference(r)
		for _, text := range texts {
			if got, want := piecesOf(rules.split, text), ref.split(text); !slices.Equal(got, want) {
				t.Fatalf("%s: %q\n got %q\nwant %q", r.pre, text, got, want)
			}
		}
	}
}

// newlyAssigned is true of characters that Go's tables do not know yet.
func newlyAssigned(r rune) bool {
	return 0x2FFC <= r && r <= 0x2FFF || r == 0x31EF || 0x2EBF0 <= r && r <= 0x2EE5D
}

func TestScannersEqualRegularExpressionsOnRealText(t *testing.T) {
	wiki := string(sharedtest.Read(t, "data/text/wiki.test.raw"))[:15_000]
	calib := string(sharedtest.Read(t, "data/text/calib_calibration_datav3_small.txt"))
	for _, r := range references {
		rules, err := preRulesOf(r.pre)
		if err != nil {
			t.Fatal(err)
		}
		ref := compileReference(r)
		for _, text := range []string{wiki, strings.ToValidUTF8(calib[len(calib)/2:len(calib)/2+15_000], "")} {
			if got, want := piecesOf(rules.split, text), ref.split(text); !slices.Equal(got, want) {
				for i := range got {
					if got[i] != want[i] {
						t.Fatalf("%s: piece %d is %q, want %q", r.pre, i, got[i], want[i])
					}
				}
			}
		}
	}
}

func TestEveryPreTokenizerHasAReference(t *testing.T) {
	for _, row := range preTable {
		if !slices.ContainsFunc(references, func(r referenceOf) bool {
			rules, err := preRulesOf(r.pre)
			return err == nil && &rules.split[0] == &row.rules.split[0]
		}) {
			t.Errorf("the splitting of %q is compared with no regular expressions", row.names)
		}
	}
}
