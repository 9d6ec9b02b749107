package records

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	parquetgo "github.com/parquet-go/parquet-go"

	"qtool/internal/sharedtest"
)

// seen is one record as a visitor saw it, with values of JSON decoded, or a whole text.
type seen struct {
	At     string
	Fields map[string]any
	Text   string
}

// collect is a visitor that keeps all records.
func collect(all *[]seen) func(*Record) error {
	open := false
	return func(r *Record) error {
		if r.Fields == nil {
			if !open {
				*all = append(*all, seen{At: r.At.String()})
			}
			(*all)[len(*all)-1].Text += string(r.Text)
			open = !r.Last
			return nil
		}
		s := seen{At: r.At.String(), Fields: map[string]any{}}
		for key, raw := range r.Fields {
			var v any
			if err := json.Unmarshal(raw, &v); err != nil {
				return fmt.Errorf("%s is not JSON: %w", raw, err)
			}
			s.Fields[key] = v
		}
		*all = append(*all, s)
		return nil
	}
}

func readAll(r Reader, name string, content []byte) ([]seen, Report, error) {
	var all []seen
	report, err := r.ReadStream(bytes.NewReader(content), name, collect(&all))
	return all, report, err
}

// fields are those of all records.
func fields(all []seen) []map[string]any {
	var list []map[string]any
	for _, s := range all {
		list = append(list, s.Fields)
	}
	return list
}

func gzipped(t testing.TB, chunks ...[]byte) []byte {
	var out bytes.Buffer
	for _, b := range chunks {
		w := gzip.NewWriter(&out)
		_, err := w.Write(b)
		if err := errors.Join(err, w.Close()); err != nil {
			t.Fatal(err)
		}
	}
	return out.Bytes()
}

func zstdPacked(t testing.TB, chunks ...[]byte) []byte {
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	var out []byte
	for _, b := range chunks {
		out = w.EncodeAll(b, out)
	}
	return out
}

type pair struct {
	Prompt     string `json:"prompt" parquet:"prompt"`
	Completion string `json:"completion" parquet:"completion"`
}

// pairs hold what containers might stumble over.
var pairs = []pair{
	{"plain", "b"},
	{`quotes " and "" and 'single'`, "comma, semicolon; tab\tpipe|"},
	{"two\nlines\n", "and\r\nWindows lines"},
	{"größe 名前 🙂", "\\n \\u0041 backslash \\"},
	{"", "an empty prompt"},
	{" blanks around ", "\u0001 control and \u2028 separators"},
	{"{\"json\": [1, 2]}", "[not, json"},
}

// asEach is the same records in every container.
func asEach(t testing.TB, pairs []pair) map[string][]byte {
	t.Helper()
	var lines, table, tabs, rows bytes.Buffer
	for _, p := range pairs {
		b, _ := json.Marshal(p)
		lines.Write(append(b, '\n'))
	}
	array, _ := json.MarshalIndent(pairs, " ", "\t")
	for out, delimiter := range map[*bytes.Buffer]rune{&table: ',', &tabs: '\t'} {
		w := csv.NewWriter(out)
		w.Comma = delimiter
		w.Write([]string{"prompt", "completion"})
		for _, p := range pairs {
			w.Write([]string{p.Prompt, p.Completion})
		}
		w.Flush()
	}
	if err := parquetgo.Write(&rows, pairs); err != nil {
		t.Fatal(err)
	}
	return map[string][]byte{"d.jsonl": lines.Bytes(), "d.json": array, "d.csv": table.Bytes(), "d.tsv": tabs.Bytes(), "d.parquet": rows.Bytes()}
}

func TestTheSameRecordsInEveryContainerAreTheSameObjects(t *testing.T) {
	var want []map[string]any
	for _, p := range pairs {
		want = append(want, map[string]any{"prompt": p.Prompt, "completion": p.Completion})
	}
	for name, plain := range asEach(t, pairs) {
		half := len(plain) / 2
		for ending, content := range map[string][]byte{
			"": plain, ".gz": gzipped(t, plain[:half], plain[half:]), ".zst": zstdPacked(t, plain[:half], plain[half:]),
		} {
			all, report, err := readAll(Reader{}, name+ending, content)
			if err != nil {
				t.Errorf("%s%s: %v", name, ending, err)
				continue
			}
			if diff := cmp.Diff(want, fields(all)); diff != "" {
				t.Errorf("%s%s: %s", name, ending, diff)
			}
			f := report.Files[0]
			if f.Records != len(pairs) || (f.Compression == "") != (ending == "") || f.Bytes != int64(len(content)) || f.Expanded < 100 {
				t.Errorf("%s%s: %+v of %d bytes", name, ending, f, len(content))
			}
			// Content decides; the name does not have to say anything.
			if all, _, err := readAll(Reader{}, "standard input", content); err != nil || len(all) != len(pairs) {
				t.Errorf("%s%s without a name: %d records, %v", name, ending, len(all), err)
			}
		}
	}
}

func TestEachContainerIsRecognised(t *testing.T) {
	for name, c := range map[string]struct{ file, content, container, first string }{
		"lines":              {"d.jsonl", `{"a":1}`, "JSON lines", "d.jsonl:1"},
		"lines, CRLF, blank": {"d.jsonl", "\ufeff\r\n{\"a\":1}\r\n\r\n{\"a\":2}\r\n", "JSON lines", "d.jsonl:2"},
		"lines in txt":       {"d.txt", `{"a":1}`, "JSON lines", "d.txt:1"},
		"values":             {"d.json", "{\n\"a\": 1\n}\n{\"a\":2}", "JSON", "d.json: record 1"},
		"array":              {"d", " [ {\"a\":1} ] ", "JSON", "d: record 1"},
		"CSV":                {"d.csv", "a,b\n1,2\n", "CSV", "d.csv:2"},
		"CSV, BOM, CRLF":     {"d.csv", "\ufeffa,b\r\n1,2\r\n", "CSV", "d.csv:2"},
		"CSV in txt":         {"d.txt", "prompt,completion\n\"a\",\"b\"\n", "CSV", "d.txt:2"},
		"CSV of one column":  {"d.csv", "text\nhello\n", "CSV", "d.csv:2"},
		"semicolons":         {"d.csv", "prompt;completion\n1,5;2,5\n", "CSV", "d.csv:2"},
		"declared":           {"d.csv", "sep=|\nprompt|completion\na|b\n", "CSV", "d.csv:3"},
		"tabs":               {"d.tsv", "prompt\tcompletion\na, b\tc\n", "CSV", "d.tsv:2"},
		"text":               {"d.txt", "Hello, world\nand, more\n", "text", "d.txt"},
		"prose in brackets":  {"d", "[a] line of text", "text", "d"},
		"Markdown":           {"d.md", "# A, B\n<div align=center>\n", "Markdown", "d.md"},
		"text on GGUF":       {"d.txt", "GGUF is a format. ORC and PAR1 and PARE too, and BM.", "text", "d.txt"},
		"text, PARE":         {"d.txt", "PAREnts and BMX", "text", "d.txt"},
	} {
		all, report, err := readAll(Reader{}, c.file, []byte(c.content))
		if err != nil || len(all) == 0 {
			t.Errorf("%s: %v, %v", name, all, err)
			continue
		}
		if got := report.Files[0].Container; got != c.container || all[0].At != c.first {
			t.Errorf("%s: a %s file, the first record at %s", name, got, all[0].At)
		}
	}
}

func TestTablesAreReadAsSpreadsheetsWriteThem(t *testing.T) {
	type o = map[string]any
	for name, c := range map[string]struct {
		content string
		want    []map[string]any
	}{
		"quotes":         {"p,c\n\"a \"\"b\"\"\",\"x,\ny\"\n", []o{{"p": `a "b"`, "c": "x,\ny"}}},
		"bare quotes":    {"p,c\nsaid \"hi\" twice,6\" long\n", []o{{"p": `said "hi" twice`, "c": `6" long`}}},
		"empty fields":   {"p,c\n,\n\"\",x\n", []o{{"p": "", "c": ""}, {"p": "", "c": "x"}}},
		"blank lines":    {"p,c\n\na,b\n\r\n", []o{{"p": "a", "c": "b"}}},
		"no line feed":   {"p,c\na,\"b\"", []o{{"p": "a", "c": "b"}}},
		"pandas index":   {",p,c\n0,a,b\n", []o{{"Unnamed: 0": "0", "p": "a", "c": "b"}}},
		"blank in names": {"p, c\na, b\n", []o{{"p": "a", "c": " b"}}},
	} {
		all, _, err := readAll(Reader{}, "d.csv", []byte(c.content))
		if diff := cmp.Diff(c.want, fields(all)); diff != "" || err != nil {
			t.Errorf("%s: %v %s", name, err, diff)
		}
	}
}

func TestBadRecordsAreRefusedByPlaceAndReason(t *testing.T) {
	for name, c := range map[string]struct{ file, content, says string }{
		"key twice":         {"d.jsonl", "{\"a\":1}\n{\"a\":1,\"a\":2}\n", `d.jsonl:2: invalid dataset: it is not valid JSON: byte 8: the key "a" stands twice in one object`},
		"key twice inside":  {"d.jsonl", `{"m":[{"role":"a","r\u006fle":"b"}]}`, `d.jsonl:1: invalid dataset: it is not valid JSON: byte 19: the key "role" stands twice`},
		"NaN":               {"d.jsonl", `{"a":NaN}`, "NaN, which Python writes, is no value of JSON; write null"},
		"Infinity":          {"d.jsonl", `{"a":[-Infinity]}`, "-Infinity, which Python writes"},
		"lone surrogate":    {"d.jsonl", `{"a":"x\ud83d"}`, `\ud83d is half of a character`},
		"swapped surrogate": {"d.json", `[{"a":"\ude00\ud83d"}]`, `d.json: record 1: invalid dataset: it is not valid JSON: byte 7: \ude00 is half`},
		"cut short":         {"d.jsonl", "{\"a\":1}\n{\"a\": ", "d.jsonl:2: invalid dataset: it is not valid JSON: byte 6: expected a value, found the end of it (is it cut short?)"},
		"string cut":        {"d.jsonl", "{\"a\":\"x", "a string does not end"},
		"control":           {"d.jsonl", "{\"a\":\"\x02\"}", "control character 0x02"},
		"escape":            {"d.jsonl", `{"a":"C:\qtool"}`, `the escape "\\q", which JSON has not`},
		"single quotes":     {"d.jsonl", `{'a':1}`, `expected a key in quotes, found "'"`},
		"trailing comma":    {"d.jsonl", `{"a":1,}`, `expected a key in quotes, found "}"`},
		"two on a line":     {"d.jsonl", `{"a":1}{"b":2}`, `"{" follows the object`},
		"leading zero":      {"d.jsonl", `{"a":01}`, `expected a comma or } after a field, found "1"`},
		"deep":              {"d.jsonl", `{"a":` + strings.Repeat("[", 600), "more than 500 deep"},
		"array comma":       {"d.json", `[{"a":1} {"a":2}]`, "expected a comma or ]"},
		"array trailing":    {"d.json", `[{"a":1},]`, "record 2"},
		"array cut":         {"d.json", `[{"a":1},{"a"`, "d.json: record 2: invalid dataset: the file ends before the JSON does"},
		"ragged":            {"d.csv", "a,b\n1,2\n1,2,3\n", `d.csv:3: invalid dataset: the row has 3 columns, and the header 2 (a, b)`},
		"ragged short":      {"d.csv", "a,b\n1\n", `d.csv:2: invalid dataset: the row has 1 column,`},
		"quote, then text":  {"d.csv", "a,b\n\"x\" y,2\n", `d.csv:2: invalid dataset: " " follows the quote that closes column 1`},
		"blank, then quote": {"d.csv", "a,b\n1, \"x\"\n", "a blank stands before the quote of column 2"},
		"open quote":        {"d.csv", "a,b\n1,2\n3,\"x\ny\n", "d.csv:3: invalid dataset: the quote of column 2 is not closed"},
		"UTF-8 in a quote":  {"d.csv", "a,b\n\"x\n\xe9\",2\n", "d.csv:3: invalid dataset: byte 1 of it is 0xe9"},
		"column twice":      {"d.csv", "a,b,a\n1,2,3\n", `two columns are named "a"`},
		"no header":         {"d.csv", strings.Repeat("x", 300) + ",b\n", "the first row of a table has the names of its columns, and its column 1 has"},
	} {
		all, _, err := readAll(Reader{}, c.file, []byte(c.content))
		if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v\nshould say: %s (%v)", name, err, c.says, all)
		}
	}
}

func TestBadRecordsArePassedOverOnRequest(t *testing.T) {
	for name, c := range map[string]struct {
		file, content string
		good, bad     int
		first         string
	}{
		"lines":  {"d.jsonl", "{\"a\":1}\n{\"a\n{\"a\":NaN}\n[]\n{\"a\":\"\xff\"}\n{\"a\":2}\n", 2, 4, "d.jsonl:2:"},
		"cut":    {"d.jsonl", "{\"a\":1}\n{\"a\":", 1, 1, "d.jsonl:2:"},
		"values": {"d.json", `[{"a":1},{"a":b},7,{"a":2}]`, 2, 2, "d.json: record 2:"},
		"table":  {"d.csv", "a,b\n1,2\n1\n\"x\"y,2\n\xff,1\n3,4\n", 2, 3, "d.csv:3:"},
	} {
		all, report, err := readAll(Reader{SkipBad: true}, c.file, []byte(c.content))
		if err != nil || len(all) != c.good || report.Bad.Records != c.bad || report.Files[0].Bad != c.bad || report.Records() != c.good {
			t.Errorf("%s: %d records, %+v, %v", name, len(all), report, err)
			continue
		}
		if !strings.HasPrefix(report.Bad.First[0], c.first) {
			t.Errorf("%s: %q", name, report.Bad.First)
		}
	}
	many := strings.Repeat("{\n", 100)
	if _, report, err := readAll(Reader{SkipBad: true}, "d.jsonl", []byte(many)); err != nil || report.Bad.Records != 100 || len(report.Bad.First) != namedBad {
		t.Errorf("%+v, %v", report, err)
	}
}

func TestAVisitorsFindingCountsAsABadRecord(t *testing.T) {
	visit := func(r *Record) error {
		if string(r.Fields["a"]) == "2" {
			return Bad(r.At, "two")
		}
		return nil
	}
	content := "{\"a\":1}\n{\"a\":2}\n{\"a\":3}\n"
	r := Reader{SkipBad: true}
	report, err := r.ReadStream(strings.NewReader(content), "d.jsonl", visit)
	if err != nil || report.Records() != 2 || report.Bad.Records != 1 {
		t.Errorf("%+v, %v", report, err)
	}
	stop := errors.New("stop")
	if _, err := r.ReadStream(strings.NewReader(content), "d.jsonl", func(*Record) error { return stop }); err != stop {
		t.Error(err)
	}
}

func TestWhatCannotBeReadOnIsNotPassedOver(t *testing.T) {
	lines := []byte(strings.Repeat("{\"a\":1}\n", 5000))
	packed := gzipped(t, lines)
	for name, c := range map[string]struct {
		file    string
		content []byte
		says    string
	}{
		"cut gzip":       {"d.jsonl.gz", packed[:len(packed)/2], "the gzip data end in the middle"},
		"gzip checksum":  {"d.jsonl.gz", append(bytes.Clone(packed[:len(packed)-8]), make([]byte, 8)...), "the gzip data are damaged"},
		"gzip, then not": {"d.jsonl.gz", append(bytes.Clone(packed), "garbage"...), "the gzip data"},
		"cut zstd":       {"d.jsonl.zst", zstdPacked(t, lines)[:20], "the zstd data"},
		"open array":     {"d.json", []byte(`[{"a":1},`), "the file ends before"},
		"cut Parquet":    {"d.parquet", asEach(t, pairs)["d.parquet"][:200], "cut short"},
		"text":           {"d.txt", []byte("abc\nde\xe9\n"), "d.txt:2: invalid dataset: byte 7 of it is 0xe9"},
	} {
		_, _, err := readAll(Reader{SkipBad: true}, c.file, c.content)
		if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCompressionCannotFillTheMemory(t *testing.T) {
	var bomb bytes.Buffer
	w := gzip.NewWriter(&bomb)
	fmt.Fprint(w, `{"text":"`)
	chunk := bytes.Repeat([]byte("x"), 1<<20)
	for range 200 {
		w.Write(chunk)
	}
	w.Close()
	_, report, err := readAll(Reader{}, "d.jsonl.gz", bomb.Bytes())
	if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "longer than 64 MiB") || report.Files[0].Expanded > 80<<20 {
		t.Errorf("%v, %+v", err, report)
	}
	if _, _, err = readAll(Reader{}, "d.gz", gzipped(t, bomb.Bytes())); err == nil || !strings.Contains(err.Error(), "compressed twice") {
		t.Error(err)
	}
	window := []byte{0x28, 0xb5, 0x2f, 0xfd, 0, 21 << 3, 1, 0, 0} // a window of 2 GiB, one empty block
	if _, _, err := readAll(Reader{}, "d.zst", window); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "window") {
		t.Error(err)
	}
}

func TestTextKeepsCharactersAndLinesWhole(t *testing.T) {
	var text strings.Builder
	for i := 0; text.Len() < 3*textChunk; i++ {
		fmt.Fprintf(&text, "%d 名前\r\nline 🙂\r\n", i)
	}
	for begin, n := text.String()[:60], 0; n < len(begin); n++ {
		if got, rest := wholeCharacters([]byte(begin[:n])), begin[:n]; strings.ToValidUTF8(rest[:got], "?") != rest[:got] || got < n-3 {
			t.Errorf("%d of %q", got, rest)
		}
	}
	last := false
	var got strings.Builder
	r := Reader{}
	_, err := r.ReadStream(strings.NewReader(text.String()), "d.txt", func(r *Record) error {
		if last || r.Fields != nil {
			t.Error("a record after the last")
		}
		last = r.Last
		got.Write(r.Text)
		return nil
	})
	if err != nil || !last || got.String() != strings.ReplaceAll(text.String(), "\r\n", "\n") {
		t.Errorf("%d bytes, last %v, %v", got.Len(), last, err)
	}
}

// What people have: all of ../shared/data/sft, and what failed before.
func TestRealFilesOfEveryForm(t *testing.T) {
	for name, want := range map[string]struct {
		container string
		records   int
		keys      string
	}{
		"data/sft/axolotl_alpaca.json":                  {"JSON", 2, "instruction"},
		"data/sft/axolotl_conversation.json":            {"JSON", 1, "conversations"},
		"data/sft/fastchat_dummy_conversation.json":     {"JSON", 500, "conversations"},
		"data/sft/gsm8k-train.jsonl":                    {"JSON lines", 7473, "question"},
		"data/sft/litgpt_alpaca.json":                   {"JSON", 23, "instruction"},
		"data/sft/litgpt_dolly.json":                    {"JSON", 12, "context"},
		"data/sft/litgpt_deita_subset_test_sft.parquet": {"Parquet", 5, "messages"},
		"data/sft/mlx/train.jsonl":                      {"JSON lines", 1000, "text"},
		"cases/train/x.csv":                             {"CSV", 1, "prompt"},
		"cases/train/pets160.jsonl":                     {"JSON lines", 160, "completion"},
		"cases/train/tiny.txt":                          {"text", 1, ""},
	} {
		path := sharedtest.Path(t, name)
		r := Reader{}
		report, err := r.Read([]File{{path, 1}}, func(r *Record) error {
			if _, ok := r.Fields[want.keys]; want.keys != "" && !ok {
				return fmt.Errorf("%s: no %s", r.At, want.keys)
			}
			return nil
		})
		if err != nil || report.Records() != want.records || report.Files[0].Container != want.container {
			t.Errorf("%s: %+v, %v", name, report, err)
		}
	}
	var all []seen
	r := Reader{}
	if _, err := r.Read([]File{{sharedtest.Path(t, "cases/train/trunc.jsonl"), 1}}, collect(&all)); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "trunc.jsonl:2:") {
		t.Errorf("a truncated last line: %v", err)
	}
}

func TestStandardInputIsAFileLikeOthers(t *testing.T) {
	set, err := Find([]Source{{Stdin, 2}})
	if err != nil || len(set.Paths()) != 0 || set.Check() != nil {
		t.Fatal(set, err)
	}
	for name, content := range asEach(t, pairs) {
		var all []seen
		r := Reader{Stdin: bytes.NewBuffer(content)}
		report, err := r.Read(set.Train, collect(&all))
		if err != nil || len(all) != len(pairs) || report.Files[0].Path != "standard input" || report.Files[0].Weight != 2 {
			t.Errorf("%s: %d, %+v, %v", name, len(all), report, err)
		}
	}
	if _, err := Find([]Source{{Stdin, 1}, {Stdin, 1}}); err == nil {
		t.Error("standard input twice")
	}
}

func writeFiles(t *testing.T, content map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, c := range content {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(c), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestALineBeyondTheLimitIsRefusedNotStored(t *testing.T) {
	for name, prefix := range map[string]string{"d.jsonl": `{"text":"`, "d.json": `[{"text":"`, "d.csv": "text\n\""} {
		endless := &repeat{prefix: prefix}
		_, err := (&Reader{}).ReadStream(endless, name, func(*Record) error { return nil })
		if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "longer than 64 MiB") {
			t.Errorf("%s: %v", prefix, err)
		}
		if endless.given > 2*maxRecord {
			t.Errorf("%s: %d bytes were read", prefix, endless.given)
		}
	}
}

// repeat is an endless file.
type repeat struct {
	prefix string
	given  int
}

func (r *repeat) Read(p []byte) (int, error) {
	n := copy(p, r.prefix)
	r.prefix = r.prefix[n:]
	for ; n < len(p); n++ {
		p[n] = 'x'
	}
	r.given += n
	return n, nil
}
