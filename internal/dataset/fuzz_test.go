package dataset

import (
	"bytes"
	"errors"
	"testing"

	"qtool/internal/chat"
)

// FuzzRead holds the reader to its word: any bytes give examples that fit, or an
// error that says what kind it is.
func FuzzRead(f *testing.F) {
	for _, seed := range []string{
		"", "\ufeff", "plain text\r\nof two lines", "{", "[", "[{", "[]", "[{}]", `{"text":"a"}`, "{\"text\":\"a\"}\r\n\r\n{\"text\":\"b\"}",
		`[{"text":"a"},{"prompt":"b","completion":"c"}]`, "{\n\"text\": \"a\"\n}", `{"text":"a"`, `{"text":1}`, `{"other":null}`, "{\"text\":\"\xff\"}",
		`{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}`, `{"messages":[null]}`, `{"messages":[{"role":"user"}]}`,
		`{"input_ids":[1,2,3],"labels":[-100,2,3],"attention_mask":[1,1,0]}`, `{"input_ids":[-1,2]}`, `{"input_ids":[],"labels":[]}`,
		`{"conversations":[{"from":"human","value":"a"},{"from":"gpt","value":"\n\n"},{"from":"function_call","value":"[{\"name\":\"f\"}]"}],"tools":"[]","weight":0.5}`,
		`{"instruction":"a","input":"b","output":"c","history":[["d","e"]],"system":"f"}`, `{"prompt":[{"role":"user","content":["a",{"type":"image"}]}],"completion":"b"}`,
		`{"messages":[{"role":"assistant","content":null,"tool_calls":[{"function":{"name":"f","arguments":"{}"}}],"weight":1e999}]}`, `{"chosen":1}`, `{"text":"","label":true}`,
		`{"text":"` + "\\ud800" + `"}`, `{"text":"a"}{"text":"b"}`, `[{"text":"a"}]]`,
	} {
		for name := range uint8(3) {
			f.Add([]byte(seed), name)
		}
	}
	names := []string{"d.jsonl", "d.json", "d.txt"}
	tok := newFake()
	f.Fuzz(func(t *testing.T, content []byte, name uint8) {
		const seq = 12
		for _, opts := range []Options{
			{Long: LongSkip, TemplatePairs: true}, {Long: LongRefuse, KeepEmpty: true}, {Long: LongTruncateLeft, Template: allTemplate{}, SkipBad: true}, {Truncate: true},
			{Long: LongSplit, TrainOn: TrainOn{mode: learnAll}, Template: allTemplate{}}, {Truncate: true, SplitText: true, TrainOn: TrainOn{learnAfter, "a"}},
		} {
			opts.Seq = seq
			if opts.Template == nil {
				opts.Template = chatML
			}
			d, err := Read(bytes.NewReader(content), names[int(name)%len(names)], tok, opts)
			if err != nil {
				if !errors.Is(err, ErrFormat) && !errors.Is(err, ErrEmpty) && !errors.Is(err, chat.ErrUnsupported) && !errors.Is(err, chat.ErrTemplate) {
					t.Errorf("an error of no kind: %v", err)
				}
				continue
			}
			for _, ex := range d.Examples {
				n, targets := ex.Len(), ex.AppendTargets(nil)
				if n == 0 || n > seq || n != len(targets) || targets[n-1] == Unscored {
					t.Errorf("bad example: %v -> %v", ex.IDs, targets)
				}
			}
		}
	})
}
