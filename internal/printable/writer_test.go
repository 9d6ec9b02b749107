package printable_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"qtool/internal/printable"
)

func TestWriterEscapesWhatSteersATerminal(t *testing.T) {
	for s, want := range map[string]string{
		"plain é 名\tand\n":               "plain é 名\tand\n",
		"\x1b[31m\a\r\b\x00":             `\x1b[31m\x07\x0d\x08\x00`,
		"\x7f":                           `\u007f`,
		"\u0080\u009b\u009f\u00a0":       `\u0080\u009b\u009f` + "\u00a0",
		"\u202a\u202e\u2066\u2069\u200f": `\u202a\u202e\u2066\u2069` + "\u200f",
		"\x9b\xff\xc3":                   `\x9b\xff\xc3`,
		"\xed\xa0\x80":                   `\xed\xa0\x80`,
	} {
		for size := 1; size <= len(s); size++ { // in pieces of any size
			var out bytes.Buffer
			w := printable.NewWriter(&out)
			for rest := s; rest != ""; {
				n := min(size, len(rest))
				if got, err := w.Write([]byte(rest[:n])); got != n || err != nil {
					t.Fatalf("wrote %d of %d bytes: %v", got, n, err)
				}
				rest = rest[n:]
			}
			if err := w.Flush(); err != nil {
				t.Fatal(err)
			}
			if out.String() != want {
				t.Errorf("%q in pieces of %d: got %q, want %q", s, size, out.String(), want)
			}
		}
	}
}

func TestJSONKeepsItsValueBehindAWriter(t *testing.T) {
	var all strings.Builder
	for r := rune(0); r < 0x2100; r++ {
		all.WriteRune(r)
	}
	all.WriteString("\\\x7f\\\\\u009b")
	var out bytes.Buffer
	e := json.NewEncoder(printable.NewWriter(&out))
	e.SetEscapeHTML(false)
	if err := e.Encode(all.String()); err != nil {
		t.Fatal(err)
	}
	if i := bytes.IndexAny(out.Bytes(), "\x1b\a\r\x7f\u0080\u009b\u202e\u2066"); i >= 0 {
		t.Errorf("a character that steers is left at %d", i)
	}
	var got string
	if err := json.Unmarshal(out.Bytes(), &got); err != nil || got != all.String() {
		t.Errorf("another value came back: %v", err)
	}
}

func TestRawWritesEscapeNothing(t *testing.T) {
	var out bytes.Buffer
	w := printable.NewWriter(&out)
	if _, err := w.Raw().Write([]byte("a\x1b[2J")); err != nil || out.String() != "a\x1b[2J" {
		t.Errorf("got %q, %v", out.String(), err)
	}
}

// full takes some bytes and no more.
type full struct{ room int }

var errFull = errors.New("full")

func (f *full) Write(p []byte) (int, error) {
	if f.room -= len(p); f.room < 0 {
		return 0, errFull
	}
	return len(p), nil
}

func TestWriterRemembersAFailedWrite(t *testing.T) {
	w := printable.NewWriter(&full{3})
	if _, err := w.Write([]byte("abc")); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Raw().Write([]byte("d")); !errors.Is(err, errFull) {
		t.Errorf("the failed write gave %v", err)
	}
	w.Write(nil)
	if err := w.Flush(); !errors.Is(err, errFull) {
		t.Errorf("at the end it is forgotten: %v", err)
	}
}

func FuzzWriter(f *testing.F) {
	f.Add("a\x1b[31m\xe2\x80\xae", 2)
	f.Fuzz(func(t *testing.T, s string, size int) {
		var whole, pieces bytes.Buffer
		w := printable.NewWriter(&whole)
		w.Write([]byte(s))
		w.Flush()
		w = printable.NewWriter(&pieces)
		for rest := s; rest != ""; {
			n := min(max(1, size), len(rest))
			w.Write([]byte(rest[:n]))
			rest = rest[n:]
		}
		w.Flush()
		if whole.String() != pieces.String() {
			t.Errorf("%q is %q whole and %q in pieces of %d", s, whole.String(), pieces.String(), size)
		}
		var again bytes.Buffer
		w = printable.NewWriter(&again)
		w.Write(whole.Bytes())
		w.Flush()
		if again.String() != whole.String() {
			t.Errorf("%q is escaped again to %q", whole.String(), again.String())
		}
	})
}
