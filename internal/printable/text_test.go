package printable_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"qtool/internal/printable"
)

func TestTextQuotesOnlyWhatCannotBeShown(t *testing.T) {
	for s, want := range map[string]string{
		"blk.0.attn_q.weight": "blk.0.attn_q.weight",
		"größe 名前":            "größe 名前",
		"":                    "",
		"a\x1b[2J":            `"a\x1b[2J"`,
		"a\nb":                `"a\nb"`,
		"a\x9bb":              `"a\x9bb"`,
		"a\u0085":             `"a\u0085"`,
		"a\u202eb":            `"a\u202eb"`,
		"\x7f":                `"\x7f"`,
	} {
		if got := printable.Text(s); got != want {
			t.Errorf("%q: got %s, want %s", s, got, want)
		}
	}
}

func TestQuoteCutsLongNamesBetweenCharacters(t *testing.T) {
	if got, want := printable.Quote("a\r"), `"a\r"`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	got := printable.Quote("x" + strings.Repeat("é", 200))
	if want := `"x` + strings.Repeat("é", 49) + `"... (401 bytes)`; got != want || !utf8.ValidString(got) {
		t.Errorf("got %s, want %s", got, want)
	}
}
