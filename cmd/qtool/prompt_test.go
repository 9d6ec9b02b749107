package main

import "testing"

func TestEscapesInPromptsAreReadAsLlamaCppReadsThem(t *testing.T) {
	for given, want := range map[string]string{
		``:                     "",
		`plain`:                "plain",
		`a\nb\tc\rd`:           "a\nb\tc\rd",
		`\"so\" it\'s`:         `"so" it's`,
		`C:\\new`:              `C:\new`,
		`\x41\x0a\xe2\x82\xac`: "A\n€",
		`\x4`:                  `\x4`,
		`\xg0 \q \`:            `\xg0 \q \`,
		`\u20ac`:               `\u20ac`,
	} {
		if got := readEscapes(given); got != want {
			t.Errorf("%s is %q, want %q", given, got, want)
		}
	}
}
