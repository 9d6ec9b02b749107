package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mattn/go-runewidth"
)

func TestTextsStandSideBySide(t *testing.T) {
	var out bytes.Buffer
	if err := printColumns(&out, 24, [2]string{"base", "with adapter.gguf"}, [2]string{" One two three four.\n", "日本語のテキスト\n\nand a verylongwordindeed"}); err != nil {
		t.Fatal(err)
	}
	want := strings.Join([]string{
		"base       │ with adap…",
		"────────── │ ──────────",
		"One two    │ 日本語のテ",
		"three      │ キスト",
		"four.      │",
		"           │ and a",
		"           │ verylongwo",
		"           │ rdindeed",
		"",
	}, "\n")
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}

func TestNoLineIsWiderThanItsColumn(t *testing.T) {
	const text = "a  b\tc 日本 word \xff wordwordword\n\n  indented 漢字漢字漢字漢字"
	for width := 1; width < 30; width++ {
		all := ""
		for _, line := range wrapped(text, width) {
			if n := runewidth.StringWidth(line); n > max(width, 2) { // no character is cut
				t.Errorf("%d columns: %q has %d", width, line, n)
			}
			all += line
		}
		if got := strings.Join(strings.Fields(all), ""); got != "abc日本word\ufffdwordwordwordindented漢字漢字漢字漢字" {
			t.Errorf("%d columns: %q", width, got)
		}
	}
}
