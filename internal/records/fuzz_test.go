package records

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"qtool/internal/records/jsontext"
)

// FuzzRecords holds the reader to its word: any bytes under any name give records whose
// fields are valid JSON, or an error that says what kind it is. What is compressed is the
// same as what is not.
func FuzzRecords(f *testing.F) {
	names := []string{"d.jsonl", "d.json", "d.csv", "d.tsv", "d.txt", "d.md", "d.parquet", "d"}
	for name := range names {
		for _, seed := range []string{
			"", "\ufeff", "plain text\r\nof two lines", "{", "[", "[{", "[]", "[{}]", `{"text":"a"}`, "{\"text\":\"a\"}\r\n\r\n{\"text\":\"b\"}",
			`[{"text":"a"},{"prompt":"b"}]`, "{\n\"text\": \"a\"\n}", `{"text":"a"`, "{\"text\":\"\xff\"}", `{"a":"` + "\\ud800" + `"}`, `{"a":1}{"b":2}`, `[{"a":1}]]`,
			"a,b\n\"x \"\"y\"\"\",2\n", "a;b\n1,5;2\n", "sep=|\na|b\n1|2\n", "a\tb\n\"x\ny\"\tz", "text\none\n\ntwo", "a,b\n1\n\"x\"y,2\n3,4",
			"%PDF-1.4", "PAR1\x00PAR1", "version https://git-lfs.github.com/spec/v1\n", "<html>", "\xff\xfea\x00",
		} {
			f.Add([]byte(seed), uint8(name))
		}
	}
	for _, content := range asEach(f, pairs) {
		f.Add(content, uint8(7))
		f.Add(gzipped(f, content), uint8(7))
		f.Add(zstdPacked(f, content), uint8(7))
	}
	f.Fuzz(func(t *testing.T, content []byte, at uint8) {
		name := names[int(at)%len(names)]
		all, report := readFuzzed(t, name, content)
		if len(content) > 2 && content[0] != 0x1f && !isZstd(content[:min(4, len(content))]) {
			packed, r := readFuzzed(t, name, gzipped(t, content))
			if diff := cmp.Diff(all, packed); diff != "" || r.Records() != report.Records() {
				t.Errorf("compressed, it is something else: %s", diff)
			}
		}
	})
}

func readFuzzed(t *testing.T, name string, content []byte) ([]seen, Report) {
	t.Helper()
	for _, skip := range []bool{false, true} {
		all, report, err := readAll(Reader{SkipBad: skip}, name, content)
		if err != nil && !errors.Is(err, ErrFormat) {
			t.Fatalf("an error of no kind: %v", err)
		}
		if !skip && report.Bad.Records > 0 {
			t.Error("bad records were passed over")
		}
		if skip || err == nil {
			if err == nil && len(all) != report.Records() && len(all) != 1 {
				t.Errorf("%d records, reported %d", len(all), report.Records())
			}
			return all, report
		}
	}
	panic("unreachable")
}

// FuzzObject compares with encoding/json, which takes more.
func FuzzObject(f *testing.F) {
	for _, seed := range []string{`{}`, `{"a":[1,-2.5e+3,null,true,false,"\u00e9\n"],"b":{"c":{}}}`, `{"a":1,"a":2}`, `{"\u0061":1,"a":2}`, `{"a":01}`, "{\"a\":\"\x01\"}", `{"a":"` + "\\ud83d\\ude00" + `"} `} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		fields := map[string]json.RawMessage{}
		var p jsontext.Parser
		if !utf8.Valid(b) || p.Object(b, fields) != nil {
			return
		}
		var want map[string]json.RawMessage
		if err := json.Unmarshal(b, &want); err != nil {
			t.Fatalf("%q is no JSON: %v", b, err)
		}
		if diff := cmp.Diff(want, fields); diff != "" {
			t.Error(diff)
		}
	})
}

func TestStringsAreWrittenAsTheyAreRead(t *testing.T) {
	for _, s := range []string{"", "plain", "\"\\\n\r\t\x00\x1f", "größe 🙂 \u2028", string(bytes.Repeat([]byte("0123456\""), 9))} {
		var got string
		if err := json.Unmarshal(jsontext.AppendString(nil, []byte(s)), &got); err != nil || got != s {
			t.Errorf("%q: %q, %v", s, got, err)
		}
	}
	for n := range 40 { // at every place of a word of eight bytes
		b := bytes.Repeat([]byte("\x80é\x20a\x7f"), 8)[:n]
		for _, c := range []byte("\"\\\x00\x1f") {
			if got := jsontext.PlainLength(append(append(bytes.Clone(b), c), "rest"...)); got != n {
				t.Errorf("%d bytes before 0x%02x: %d", n, c, got)
			}
		}
	}
}
