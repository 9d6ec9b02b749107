package dataset

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"qtool/internal/chat"
	"qtool/internal/records"

	"github.com/google/go-cmp/cmp"
)

// chatML is the template of tests.
var chatML = chat.ChatML(chat.Options{})

func read(t testing.TB, name, content string, tok Tokenizer, opts Options) *Data {
	t.Helper()
	if opts.Seq == 0 {
		opts.Seq = 1000
	}
	if opts.Template == nil {
		opts.Template = chatML
	}
	d, err := Read(strings.NewReader(content), name, tok, opts)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// load is Load of one path.
func load(path string, tok Tokenizer, opts Options) (train, eval *Data, err error) {
	set, err := records.Find([]records.Source{{Path: path, Weight: 1}})
	if err != nil {
		return nil, nil, err
	}
	return Load(set, nil, tok, opts)
}

func TestEachFormScoresWhatItShould(t *testing.T) {
	f := newFake()
	for name, c := range map[string]struct{ record, tokens, scored string }{
		"text":                 {`{"text":"abc"}`, "<s>abc", "abc</s>"},
		"text with its BOS":    {`{"text":"<s>abc</s>"}`, "<s>abc", "abc</s>"},
		"pair":                 {`{"prompt":"ab","completion":"cd"}`, "<s>abcd", "cd</s>"},
		"pair with its EOS":    {`{"prompt":"ab","completion":"cd</s>"}`, "<s>abcd", "cd</s>"},
		"pair without prompt":  {`{"prompt":"","completion":"cd"}`, "<s>cd", "cd</s>"},
		"pair crossed":         {`{"prompt":"t","completion":"he x"}`, "<s>the x", "he x</s>"},
		"messages":             {`{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]}`, "<s><|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\na", "a<|im_end|>"},
		"later user turn":      {`{"messages":[{"role":"assistant","content":"a"},{"role":"user","content":"q"}]}`, "<s><|im_start|>assistant\na", "a<|im_end|>"},
		"ids":                  {`{"input_ids":[97,98,99]}`, "ab", "bc"},
		"ids with labels":      {`{"input_ids":[97,98,99,100],"labels":[-100,-100,99,-100]}`, "ab", "c"},
		"ids with other label": {`{"input_ids":[97,98],"labels":[-100,120]}`, "a", "x"},
		"padded left":          {`{"input_ids":[0,0,97,98],"labels":[-100,-100,97,98],"attention_mask":[0,0,1,1]}`, "a", "b"},
		"padded right":         {`{"input_ids":[97,98,0],"attention_mask":[1,1,0]}`, "a", "b"},
		"extra keys":           {`{"id":7,"text":"a","meta":{"x":[1]}}`, "<s>a", "a</s>"},
	} {
		t.Run(name, func(t *testing.T) {
			d := read(t, "x.jsonl", c.record, f, Options{})
			got := [2]string{f.text(d.Examples[0].Tokens()), f.scored(d.Examples[0])}
			if diff := cmp.Diff([2]string{c.tokens, c.scored}, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWithoutTheMarkerInTheVocabularyAConversationEndsWithEOS(t *testing.T) {
	f := withoutMarker()
	d := read(t, "x.jsonl", `{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]}`, f, Options{})
	if got := f.scored(d.Examples[0]); got != "a<|im_end|></s>" {
		t.Errorf("scored %q", got)
	}
}

func TestTokenizersWithoutBOSOrEOSGetNone(t *testing.T) {
	f := newFake()
	f.addBOS, f.noEOS = false, true
	ex := read(t, "x.jsonl", `{"text":"abc"}`, f, Options{}).Examples[0]
	if f.text(ex.IDs) != "abc" || ex.CountScored() != 2 {
		t.Errorf("%q, of which %q is scored", f.text(ex.IDs), f.scored(ex))
	}
}

func TestEveryLayoutGivesTheSameRecords(t *testing.T) {
	f := newFake()
	want := read(t, "x.jsonl", "{\"text\":\"ab\"}\n{\"prompt\":\"c\",\"completion\":\"d\"}\n", f, Options{})
	for name, content := range map[string]string{
		"crlf.jsonl":    "{\"text\":\"ab\"}\r\n\r\n{\"prompt\":\"c\",\"completion\":\"d\"}",
		"bom.jsonl":     "\ufeff\n  {\"text\":\"ab\"}\n\n\n{\"prompt\":\"c\",\"completion\":\"d\"}\n",
		"array.json":    "[{\"text\":\"ab\"},\n {\"prompt\":\"c\",\n\"completion\":\"d\"}]\n",
		"pretty.json":   "{\n \"text\":\"ab\"\n}\n{\n\"prompt\":\"c\",\"completion\":\"d\"}\n",
		"lines.json":    "{\"text\":\"ab\"}\n{\"prompt\":\"c\",\"completion\":\"d\"}\n",
		"nameless":      "{\"text\":\"ab\"}\n{\"prompt\":\"c\",\"completion\":\"d\"}\n",
		"nameless.data": "[ {\"text\":\"ab\"},{\"prompt\":\"c\",\"completion\":\"d\"} ]",
	} {
		got := read(t, name, content, f, Options{})
		got.Files = want.Files
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestNamedFieldsAreReadAndComeFirst(t *testing.T) {
	f := newFake()
	d := read(t, "x.jsonl", `{"question":"q","answer":"a","text":"t"}`, f, Options{PromptField: "question", CompletionField: "answer"})
	if got := f.scored(d.Examples[0]); got != "a</s>" {
		t.Errorf("pair: scored %q", got)
	}
	d = read(t, "x.jsonl", `{"messages":[],"body":"b"}`, f, Options{TextField: "body"})
	if got := f.scored(d.Examples[0]); got != "b</s>" {
		t.Errorf("text: scored %q", got)
	}
}

func TestPlainTextIsWindowedWithEveryTokenScoredOnce(t *testing.T) {
	text := "[a] line of text, the\r\nother line {\"x\"} <s> and an end"
	want := strings.ReplaceAll(text, "\r\n", "\n") + "</s>"
	for _, bos := range []bool{true, false} {
		f := newFake()
		f.addBOS = bos
		for seq := 2; seq < 70; seq++ {
			d := read(t, "x.txt", text, f, Options{Seq: seq})
			got := ""
			if !bos {
				got = want[:1] // the first token has nothing to be predicted from
			}
			for _, ex := range d.Examples {
				if ex.Len() > seq || len(ex.AppendTargets(nil)) != ex.Len() {
					t.Fatalf("seq %d: %d tokens, %d targets", seq, ex.Len(), len(ex.AppendTargets(nil)))
				}
				if bos && ex.IDs[0] != fakeBOS {
					t.Errorf("seq %d: a window starts with %q", seq, f.text(ex.IDs[:1]))
				}
				got += f.scored(ex)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("seq %d: %s", seq, diff)
			}
		}
	}
}

func TestRecordsThatAreTooLongAreRefusedByPlace(t *testing.T) {
	content := "{\"text\":\"abc\"}\n{\"text\":\"" + strings.Repeat("x", 20) + "\"}\n{\"prompt\":\"" + strings.Repeat("x", 30) + "\",\"completion\":\"y\"}\n"
	_, err := Read(strings.NewReader(content), "d.jsonl", newFake(), Options{Seq: 10, Long: LongRefuse})
	if !errors.Is(err, ErrTooLong) || !errors.Is(err, ErrFormat) {
		t.Fatal(err)
	}
	for _, part := range []string{"d.jsonl:2:", "21 tokens", "2 records", "raise --seq to 32", "--long"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is missing in: %v", part, err)
		}
	}
	_, err = Read(strings.NewReader(content), "d.jsonl", newFake(), Options{Seq: 10, Context: 16, Long: LongRefuse})
	if s := err.Error(); strings.Contains(s, "--seq") || !strings.Contains(s, "the model's context is 16") {
		t.Error(s)
	}
}

func TestLongRecordsAreCutOrSplitOnRequest(t *testing.T) {
	f := newFake()
	content := "{\"text\":\"" + strings.Repeat("x", 20) + "\"}\n{\"prompt\":\"" + strings.Repeat("x", 30) + "\",\"completion\":\"y\"}\n{\"prompt\":\"pp\",\"completion\":\"0123456789\"}\n"
	d := read(t, "d.jsonl", content, f, Options{Seq: 10, Truncate: true})
	want := Report{
		Records: 3, Forms: map[string]int{"text": 1, "prompt-completion": 2}, Examples: 2, Tokens: 20, Scored: 18, Longest: 32, Truncated: 3, AnswersCut: 3, Skipped: 1,
		Notes:    []string{"3 examples were cut to 10 tokens"},
		Warnings: []string{"3 examples lost tokens of answers when cut; raise --seq to 32 to learn them whole"},
		Shown:    d.Report.Shown,
	}
	if diff := cmp.Diff(want, d.Report); diff != "" {
		t.Error(diff)
	}
	if got := f.scored(d.Examples[1]); got != "01234567" {
		t.Errorf("kept %q", got)
	}
	d = read(t, "d.jsonl", content, f, Options{Seq: 10, Truncate: true, SplitText: true})
	if d.Report.Windowed != 1 || d.Report.Examples != 4 {
		t.Errorf("%+v", d.Report)
	}
}

func TestBadDataIsRefusedByPlaceAndReason(t *testing.T) {
	for name, c := range map[string]struct{ file, content, says string }{
		"unknown form":   {"d.jsonl", "{\"text\":\"a\"}\n\n{\"b\":1,\"a\":2}", `d.jsonl:3: invalid dataset: the record has the keys ["a" "b"]; expected one of the forms {"input_ids"}, {"messages"}, {"conversations"}`},
		"half a form":    {"d.jsonl", "{\"prompt\":\"a\",\"completion\":\"b\"}\n{\"prompt\":\"a\"}", `d.jsonl:2: invalid dataset: the record has the keys ["prompt"]`},
		"what it lacks":  {"d.jsonl", `{"prompt":"a"}`, `for {"prompt","completion"} it lacks "completion"`},
		"broken line":    {"d.jsonl", "{\"text\":\"a\"}\n{\"text\":\"a\n", "d.jsonl:2: invalid dataset: it is not valid JSON"},
		"broken first":   {"d.txt", "{\"text\":\"a\n{\"text\":\"a\"}\n", "d.txt:1: invalid dataset: it is not valid JSON"},
		"not an object":  {"d.jsonl", "[1,2]\n", "record 1: invalid dataset: expected a JSON object, found 1"},
		"prose in jsonl": {"d.jsonl", "hello\n", "d.jsonl:1: invalid dataset: expected a JSON object, found hello"},
		"null":           {"d.jsonl", `{"text":null}`, `"text" is null; expected a string`},
		"chat prompt":    {"d.jsonl", `{"prompt":[{"role":"user","content":7}],"completion":"a"}`, `"prompt": message 1: "content" is 7; expected a string`},
		"open array":     {"d.json", `[{"text":"a"},{"text":"b"}`, "d.json: record 3: invalid dataset: the file ends before"},
		"broken array":   {"d.json", `[{"text":"a"},{"text":b}]`, "d.json: record 2: invalid dataset: it is not valid JSON"},
		"after array":    {"d.json", `[{"text":"a"}] {}`, "something follows the JSON array"},
		"not UTF-8":      {"d.jsonl", "{\"text\":\"a\"}\n{\"text\":\"\xff\"}\n", "d.jsonl:2: invalid dataset: byte 10 of it is 0xff"},
		"text not UTF-8": {"d.txt", "abc\nde\xe9\n", "d.txt:2: invalid dataset: byte 7 of it is 0xe9"},
		"array UTF-8":    {"d.json", "[{\"text\":\"\xff\"}]", "d.json: record 1: invalid dataset: byte 10"},
		"labels short":   {"d.jsonl", `{"input_ids":[1,2],"labels":[1]}`, `"labels" has the length 1, "input_ids" 2`},
		"id too big":     {"d.jsonl", `{"input_ids":[1,9999]}`, `d.jsonl:1: "input_ids" has 9999 at index 1`},
		"label too big":  {"d.jsonl", `{"input_ids":[1,2],"labels":[1,-7]}`, `"labels" has -7 at index 1`},
		"id of no int32": {"d.jsonl", `{"input_ids":[1,3e9]}`, `expected an array of token ids`},
		"holes in mask":  {"d.jsonl", `{"input_ids":[1,2,3],"attention_mask":[1,0,1]}`, `hides tokens in the middle`},
		"role":           {"d.jsonl", `{"messages":[{"role":"bot","content":"a"}]}`, `d.jsonl:1: invalid conversation: message 1 has the role "bot"`},
		"no role":        {"d.jsonl", `{"messages":[{"content":"a"}]}`, `message 1: "role" is missing; expected a string`},
		"content parts":  {"d.jsonl", `{"messages":[{"role":"user","content":[{"type":"text"}]}]}`, `message 1: part 1 of "content" is a text without text`},
		"tool calls":     {"d.jsonl", `{"messages":[{"role":"assistant","content":null,"tool_calls":[{"id":1}]}]}`, `"tool_calls"`},
		"no messages":    {"d.jsonl", `{"messages":[]}`, `no messages`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Read(strings.NewReader(c.content), c.file, newFake(), Options{Seq: 100, Template: chatML})
			if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v\nshould say: %s", err, c.says)
			}
		})
	}
}

func TestDataWithoutAnythingToLearnIsEmpty(t *testing.T) {
	for name, content := range map[string]string{
		"nothing.jsonl": "", "blank.jsonl": " \n\r\n", "blank.txt": "\n \n", "array.json": "[]", "bom.txt": "\ufeff",
		"unscored.jsonl": `{"messages":[{"role":"user","content":"a"}]}` + "\n" + `{"input_ids":[1,2],"labels":[-100,-100]}`,
		"one.jsonl":      `{"input_ids":[1]}`,
		"none.jsonl":     `{"input_ids":[]}`,
	} {
		_, err := Read(strings.NewReader(content), name, newFake(), Options{Seq: 100, Template: chatML})
		if !errors.Is(err, ErrEmpty) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestATemplateThatCannotBeRenderedMattersOnlyToConversations(t *testing.T) {
	opts := Options{Seq: 100, Template: chat.ForModel("{{ raise_exception('no') }}", chat.Options{})}
	if _, err := Read(strings.NewReader(`{"text":"a"}`), "d.jsonl", newFake(), opts); err != nil {
		t.Error(err)
	}
	_, err := Read(strings.NewReader(`{"messages":[{"role":"user","content":"a"}]}`), "d.jsonl", newFake(), opts)
	if !errors.Is(err, chat.ErrUnsupported) || errors.Is(err, ErrFormat) || !strings.HasPrefix(err.Error(), "d.jsonl:1: ") {
		t.Error(err)
	}
}

func TestAFolderGivesTrainingAndEvaluation(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	opts := Options{Seq: 100}
	if _, _, err := load(dir, newFake(), opts); !errors.Is(err, ErrFormat) {
		t.Error(err)
	}
	write("train.jsonl", "{\"text\":\"a\"}\n{\"text\":\"b\"}\n")
	if train, eval, err := load(dir, newFake(), opts); err != nil || len(train.Examples) != 2 || eval != nil {
		t.Error(train, eval, err)
	}
	write("valid.txt", "text")
	if _, eval, err := load(dir, newFake(), opts); err != nil || len(eval.Examples) != 1 {
		t.Error(eval, err)
	}
	if _, _, err := load(filepath.Join(dir, "absent"), newFake(), opts); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func TestWithoutAVocabularyOnlyTokenIdsAreRead(t *testing.T) {
	opts := Options{Seq: 8}
	data, err := Read(strings.NewReader(`{"input_ids":[1,2,3]}`), "a.jsonl", Untokenized(4), opts)
	if err != nil || len(data.Examples) != 1 {
		t.Errorf("ids: %v, %v", data, err)
	}
	if _, err := Read(strings.NewReader(`{"text":"hello"}`), "a.jsonl", Untokenized(4), opts); !errors.Is(err, ErrFormat) {
		t.Errorf("text: %v", err)
	}
}
