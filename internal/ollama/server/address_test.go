package server

import (
	"errors"
	"testing"

	"qtool/internal/usage"
)

func TestAddressesAreReadAsOllamaReadsThem(t *testing.T) {
	for s, want := range map[string]string{
		"":                        "http://127.0.0.1:11434",
		" 'localhost' ":           "http://localhost:11434",
		"1.2.3.4":                 "http://1.2.3.4:11434",
		"1.2.3.4:":                "http://1.2.3.4:11434",
		":1234":                   "http://127.0.0.1:1234",
		"example.com":             "http://example.com:11434",
		"example.com:1":           "http://example.com:1",
		"http://example.com":      "http://example.com:80",
		"https://example.com":     "https://example.com:443",
		"https://example.com:1/p": "https://example.com:1/p",
		"example.com/a/b/":        "http://example.com:11434/a/b",
		"::1":                     "http://[::1]:11434",
		"[::1]":                   "http://[::1]:11434",
		"[::1]:5":                 "http://[::1]:5",
		"0.0.0.0":                 "http://127.0.0.1:11434",
		"0.0.0.0:7":               "http://127.0.0.1:7",
		"[::]:7":                  "http://[::1]:7",
		"ollama.com":              "https://ollama.com:443",
	} {
		if u, err := Address(s); err != nil || u.String() != want {
			t.Errorf("%q: %v %v, want %s", s, u, err, want)
		}
	}
	for _, s := range []string{"ftp://x", "x:99999", "x:port", "a b", "u@x", "x?y", "http://a%zz"} {
		if u, err := Address(s); !errors.Is(err, usage.Err) {
			t.Errorf("%q: %v %v", s, u, err)
		}
	}
}

func FuzzAddress(f *testing.F) {
	for _, s := range []string{"", "[", "]:", "http://", "://", "x://y:z", "[::1%eth0]", "\x00", "a:b:c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, err := Address(s)
		if err == nil && u.Hostname() == "" || err != nil && !errors.Is(err, usage.Err) {
			t.Errorf("%q: %v %v", s, u, err)
		}
	})
}
