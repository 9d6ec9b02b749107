package dataset

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"qtool/internal/records"

	"qtool/internal/chat"
	"qtool/internal/sharedtest"
)

// shown is what is read and, in brackets, what is scored of every example.
func shown(f *fake, d *Data) (all []string) {
	for i := range d.Examples {
		var b strings.Builder
		open := false
		for _, t := range Show(&d.Examples[i], f) {
			if t.Scored != open {
				b.WriteString(map[bool]string{true: "[[", false: "]]"}[t.Scored])
				open = t.Scored
			}
			if t.Weight != 0 {
				fmt.Fprintf(&b, "%g*", t.Weight)
			}
			b.WriteString(t.Text)
		}
		if open {
			b.WriteString("]]")
		}
		all = append(all, b.String())
	}
	return all
}

const user, answer = "<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n"

func TestEveryFormBecomesAConversation(t *testing.T) {
	const q = "<s>" + user + "q" + answer + "[[a<|im_end|>]]"
	for name, c := range map[string]struct{ record, form, want string }{
		"messages":              {`{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]}`, "messages", q},
		"content parts":         {`{"messages":[{"role":"user","content":[{"type":"text","text":"q"}]},{"role":"assistant","content":[{"type":"text","text":"a"}]}]}`, "messages", q},
		"parts are joined":      {`{"messages":[{"role":"user","content":["q",{"text":"r"}]},{"role":"assistant","content":"a"}]}`, "messages", "<s>" + user + "qr" + answer + "[[a<|im_end|>]]"},
		"thinking part":         {`{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":[{"type":"thinking","thinking":"t"},{"type":"text","text":"a"}]}]}`, "messages", "<s>" + user + "q" + answer + "[[{t}a<|im_end|>]]"},
		"developer":             {`{"messages":[{"role":"developer","content":"d"},{"role":"user","content":"q"},{"role":"assistant","content":"a"}]}`, "messages", "<s><|im_start|>developer\nd<|im_end|>\n" + user + "q" + answer + "[[a<|im_end|>]]"},
		"reasoning":             {`{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a","reasoning_content":"r"}]}`, "messages", "<s>" + user + "q" + answer + "[[{r}a<|im_end|>]]"},
		"thinking":              {`{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a","thinking":"r"}]}`, "messages", "<s>" + user + "q" + answer + "[[{r}a<|im_end|>]]"},
		"name":                  {`{"messages":[{"role":"user","name":"n","content":"q"},{"role":"assistant","content":"a"}]}`, "messages", "<s>" + user + "(n)q" + answer + "[[a<|im_end|>]]"},
		"tool calls":            {`{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{\"x\":1}"}}]},{"role":"tool","tool_call_id":"c1","content":"r"},{"role":"assistant","content":"a"}]}`, "messages", "<s>" + user + "q" + answer + "[[[c1 f {\"x\":1}]<|im_end|>]]\n<|im_start|>tool\n(c1)r" + answer + "[[a<|im_end|>]]"},
		"arguments as object":   {`{"messages":[{"role":"user","content":"q"},{"role":"assistant","tool_calls":[{"name":"f","arguments":{"x": 1}}]}]}`, "messages", "<s>" + user + "q" + answer + "[[[ f {\"x\": 1}]<|im_end|>]]"},
		"function_call":         {`{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":null,"function_call":{"name":"f","arguments":"{}"}},{"role":"function","name":"f","content":"r"},{"role":"assistant","content":"a"}]}`, "messages", "<s>" + user + "q" + answer + "[[[ f {}]<|im_end|>]]\n<|im_start|>tool\n(f)r" + answer + "[[a<|im_end|>]]"},
		"tools":                 {`{"tools":[{"b":1,"a":2}],"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]}`, "messages", "<s>tools=[{\"b\":1,\"a\":2}]\n" + user + "q" + answer + "[[a<|im_end|>]]"},
		"tools as a string":     {`{"tools":"[{\"b\":1}]","messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]}`, "messages", "<s>tools=[{\"b\":1}]\n" + user + "q" + answer + "[[a<|im_end|>]]"},
		"functions":             {`{"functions":[{"name":"f"}],"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]}`, "messages", "<s>tools=[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}]\n" + user + "q" + answer + "[[a<|im_end|>]]"},
		"system beside":         {`{"system":"s","messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]}`, "messages", "<s><|im_start|>system\ns<|im_end|>\n" + user + "q" + answer + "[[a<|im_end|>]]"},
		"system in both places": {`{"system":"s","messages":[{"role":"system","content":"s"},{"role":"user","content":"q"},{"role":"assistant","content":"a"}]}`, "messages", "<s><|im_start|>system\ns<|im_end|>\n" + user + "q" + answer + "[[a<|im_end|>]]"},
		"sharegpt":              {`{"conversations":[{"from":"human","value":"q"},{"from":"gpt","value":"a"}]}`, "sharegpt", q},
		"sharegpt with roles":   {`{"conversations":[{"role":"human","content":"q"},{"role":"gpt","content":"a"}]}`, "sharegpt", q},
		"sharegpt with tools":   {`{"conversations":[{"from":"system","value":"s"},{"from":"human","value":"q"},{"from":"function_call","value":"{\"name\":\"f\",\"arguments\":{}}"},{"from":"observation","value":"r"},{"from":"gpt","value":"a"}]}`, "sharegpt", "<s><|im_start|>system\ns<|im_end|>\n" + user + "q" + answer + "[[[ f {}]<|im_end|>]]\n<|im_start|>tool\nr" + answer + "[[a<|im_end|>]]"},
		"prompt and completion": {`{"prompt":"q","completion":"a"}`, "prompt-completion", q},
		"message lists":         {`{"prompt":[{"role":"user","content":"p"},{"role":"assistant","content":"b"},{"role":"user","content":"q"}],"completion":[{"role":"assistant","content":"a"}]}`, "prompt-completion", "<s>" + user + "p" + answer + "b<|im_end|>\n" + user + "q" + answer + "[[a<|im_end|>]]"},
		"list and string":       {`{"prompt":[{"role":"user","content":"q"}],"completion":"a"}`, "prompt-completion", q},
		"prompt and response":   {`{"prompt":"q","response":"a"}`, "prompt-response", q},
		"alpaca":                {`{"instruction":"q","input":"","output":"a"}`, "alpaca", q},
		"alpaca with all":       {`{"system":"s","instruction":"q","input":"i","output":"a","history":[["x","y"]]}`, "alpaca", "<s><|im_start|>system\ns<|im_end|>\n" + user + "x" + answer + "[[y<|im_end|>]]\n" + user + "q\n\ni" + answer + "[[a<|im_end|>]]"},
		"dolly":                 {`{"instruction":"q","context":"i","response":"a","category":"x"}`, "instruction-response", "<s>" + user + "q\n\ni" + answer + "[[a<|im_end|>]]"},
		"question and answer":   {`{"question":"q","answer":"a"}`, "question-answer", q},
		"query and response":    {`{"query":"q","response":"a"}`, "query-response", q},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake()
			d := read(t, "x.jsonl", c.record, f, Options{Template: allTemplate{}, TemplatePairs: true})
			if diff := cmp.Diff([]string{c.want}, shown(f, d)); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(map[string]int{c.form: 1}, d.Report.Forms); diff != "" {
				t.Error(diff)
			}
			if d.Report.Template != "everything" {
				t.Errorf("the template is said to be %q", d.Report.Template)
			}
		})
	}
}

func TestWithoutATemplatePromptsAreRaw(t *testing.T) {
	for record, want := range map[string]string{
		`{"prompt":"q","completion":" a"}`:                  "<s>q[[ a</s>]]",
		`{"question":"q","answer":"a"}`:                     "<s>q\n[[a</s>]]",
		`{"query":"q","response":"a"}`:                      "<s>q\n[[a</s>]]",
		`{"instruction":"q","output":"a"}`:                  "<s>" + alpacaPrompt("", "q", "") + "[[a</s>]]",
		`{"instruction":"q","input":"i","output":"a"}`:      "<s>" + alpacaPrompt("", "q", "i") + "[[a</s>]]",
		`{"instruction":"q","context":"i","response":"a"}`:  "<s>" + alpacaPrompt("", "q", "i") + "[[a</s>]]",
		`{"system":"s","instruction":"q","output":"a"}`:     "<s>s\n\n### Instruction:\nq\n\n### Response:\n[[a</s>]]",
		`{"prompt":"q","completion":"a","weight":0.5}`:      "<s>q[[0.5*a0.5*</s>]]",
		`{"text":"ab","weight":2}`:                          "<s>[[2*a2*b2*</s>]]",
		`{"input_ids":[97,98],"labels":[97,98],"weight":3}`: "a[[3*b]]",
	} {
		f := newFake()
		if diff := cmp.Diff([]string{want}, shown(f, read(t, "x.jsonl", record, f, Options{}))); diff != "" {
			t.Error(diff)
		}
	}
}

func TestWeightsOfRecordsAndMessagesMultiply(t *testing.T) {
	const record = `{"weight":2,"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a","weight":0},{"role":"user","content":"q"},
		{"role":"assistant","content":"b","weight":0.5},{"role":"user","content":"q"},{"role":"assistant","content":"c","train":false},{"role":"user","content":"q"},
		{"role":"assistant","content":"d","training":true,"weight":0.25}]}`
	f := newFake()
	d := read(t, "x.json", record, f, Options{})
	want := "<s>" + user + "q" + answer + "a<|im_end|>\n" + user + "q" + answer + "[[b<|im_end|>]]\n" + user + "q" + answer + "c<|im_end|>\n" + user + "q" + answer + "[[0.5*d0.5*<|im_end|>]]"
	if diff := cmp.Diff([]string{want}, shown(f, d)); diff != "" {
		t.Error(diff)
	}
	if d.Report.Weighted != 1 {
		t.Errorf("%d examples are weighted", d.Report.Weighted)
	}
	for _, off := range []string{`"weight":0`, `"train":false`, `"training":false`} {
		_, err := Read(strings.NewReader(`{"text":"abc",`+off+`}`), "x.jsonl", f, Options{Seq: 9})
		if !errors.Is(err, ErrEmpty) {
			t.Errorf("%s: %v", off, err)
		}
	}
}

func TestKeysThatChangeTheMeaningAreRefusedByNameAndPlace(t *testing.T) {
	message := func(extra string) string {
		return `{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a",` + extra + `}]}`
	}
	for record, says := range map[string]string{
		`{"text":"a","system":"s"}`:                                `"system"`,
		`{"text":"a","input":"s"}`:                                 `"input"`,
		`{"text":"a","tools":[{"a":1}]}`:                           `"tools"`,
		`{"text":"a","images":["x.png"]}`:                          `"images"`,
		`{"text":"a","reasoning_content":"r"}`:                     `"reasoning_content"`,
		`{"prompt":"p","completion":"c","system":"s"}`:             `"system"`,
		`{"prompt":"p","completion":"c","history":[["a","b"]]}`:    `"history"`,
		`{"prompt":"p","completion":"c","mask":[1]}`:               `"mask"`,
		`{"question":"q","answer":"a","context":"c"}`:              `"context"`,
		`{"text":"a","response":"b"}`:                              `"response" stands beside`,
		`{"prompt":"p","completion":"c","label":true}`:             `KTO`,
		`{"chosen":"a","rejected":"b"}`:                            `DPO`,
		`{"prompt":"q","chosen":"a","rejected":"b"}`:               `DPO`,
		`{"input_ids":[1,2],"position_ids":[4,5]}`:                 `"position_ids"`,
		`{"text":"a","weight":-1}`:                                 `"weight" is -1`,
		`{"text":"a","weight":"much"}`:                             `"weight" is "much"`,
		`{"text":"a","weight":1e9}`:                                `"weight" is 1e+09`,
		`{"text":"a","train":3}`:                                   `"train" is 3`,
		message(`"prefix":true`):                                   `"prefix"`,
		message(`"images":["a"]`):                                  `"images"`,
		message(`"audio":{"id":"x"}`):                              `"audio"`,
		message(`"refusal":"no"`):                                  `"refusal"`,
		message(`"weight":"x"`):                                    `"weight" is "x"`,
		message(`"reasoning":"a","thinking":"b"`):                  `differs from the reasoning`,
		message(`"tool_calls":[{"id":1}]`):                         `"tool_calls"`,
		message(`"tool_calls":[{"type":"code","name":"f"}]`):       `of the type "code"`,
		message(`"function_call":{"name":"f","arguments":"{"}`):    `its arguments are "{"`,
		`{"tools":[],"functions":{},"messages":[7]}`:               `messages`,
		`{"tools":"x","messages":[{"role":"user","content":"a"}]}`: `"tools" is x`,
		`{"messages":[{"role":"user","content":"q","train":true},{"role":"assistant","content":"a"}]}`:         `message 1: it is to be learned`,
		`{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"x"}}]}]}`:              `"image_url"`,
		`{"messages":[{"role":"user","content":"q","tool_calls":[{"name":"f"}]}]}`:                             `only the assistant`,
		`{"conversations":[{"from":"alien","value":"q"}]}`:                                                     `"from" is "alien"`,
		`{"conversations":[{"from":"function_call","value":"f(x)"}]}`:                                          `calls a function`,
		`{"system":"s","messages":[{"role":"system","content":"t"},{"role":"assistant","content":"a"}]}`:       `another one stands in "system"`,
		`{"prompt":[{"role":"user","content":"q"}],"completion":[{"role":"user","content":"q"}]}`:              `does not end with a message of the assistant`,
		`{"tools":[{"a":1}],"functions":[{"name":"f"}],"messages":[{"role":"assistant","content":"a"}]}`:       `"tools" and "functions"`,
		`{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}],"response":"another"}`: `"response" stands beside`,
	} {
		_, err := Read(strings.NewReader("\n"+record), "x.jsonl", newFake(), Options{Seq: 100, Template: allTemplate{}})
		if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "x.jsonl:2: ") {
			t.Errorf("%s: %v\nshould say: %s", record, err, says)
		}
	}
}

func TestKeysThatSayNothingAreCountedAndUnknownOnesWarnedOf(t *testing.T) {
	const content = `{"text":"a","id":1,"source":"x","input":"","system":null,"tools":[],"colour":"red"}
{"text":"b","id":2,"colour":"blue"}
{"messages":[{"role":"user","content":"q","timestamp":4},{"role":"assistant","content":"a","refusal":null,"mood":1}],"prompt":"q","images":false}
{"instruction":"i","output":"o","text":"i o"}`
	d := read(t, "x.jsonl", content, newFake(), Options{})
	if diff := cmp.Diff(map[string]int{"id": 2, "source": 1, "colour": 2, "timestamp": 1, "mood": 1, "prompt": 1, "images": 1, "text": 1}, d.Report.UnusedKeys); diff != "" {
		t.Error(diff)
	}
	want := []string{"keys that are not known and were not used: colour, images, mood, text; leave them out, or pass --ignore-key if that is meant"}
	if diff := cmp.Diff(want, d.Report.Warnings); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]int{"text": 2, "messages": 1, "alpaca": 1}, d.Report.Forms); diff != "" {
		t.Error(diff)
	}
	d = read(t, "x.jsonl", `{"text":"a","system":"s","colour":1}`, newFake(), Options{IgnoreKeys: []string{"system", "colour"}})
	if len(d.Report.Warnings) > 0 || d.Report.UnusedKeys["system"] != 1 {
		t.Errorf("%+v", d.Report)
	}
	const both = `{"tools":[{"a":1}],"messages":[{"role":"user","content":"q","weight":9},{"role":"assistant","content":"a","reasoning":"r","images":[1]}]}`
	f := newFake()
	d = read(t, "x.jsonl", both, f, Options{IgnoreKeys: []string{"tools", "weight", "reasoning", "images"}, Template: allTemplate{}})
	if diff := cmp.Diff([]string{"<s>" + user + "q" + answer + "[[a<|im_end|>]]"}, shown(f, d)); diff != "" {
		t.Error(diff)
	}
}

func TestCellsOfATableAreReadAsWhatTheyHold(t *testing.T) {
	opts := &Options{Seq: 1000, Template: allTemplate{}}
	forms, err := opts.forms()
	if err != nil {
		t.Fatal(err)
	}
	f := newFake()
	cells := func(pairs ...string) object {
		o := object{}
		for i := 0; i < len(pairs); i += 2 {
			raw, err := json.Marshal(pairs[i+1])
			if err != nil {
				t.Fatal(err)
			}
			o[pairs[i]] = raw
		}
		return o
	}
	b := newBuilder(opts, forms, f)
	for i, o := range []object{
		cells("prompt", "q", "completion", "a", "weight", "0.5", "train", "True", "id", "7"),
		cells("messages", `[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]`, "weight", "", "tools", ""),
		cells("input_ids", "[97, 98]", "labels", ""),
	} {
		if err := b.add(&records.Record{At: place{Path: "x.csv", Line: i + 2}, Fields: records.Object(o), Strings: true, Weight: 1}); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"<s>q[[0.5*a0.5*</s>]]", "<s>" + user + "q" + answer + "[[a<|im_end|>]]", "a[[b]]"}
	if diff := cmp.Diff(want, shown(f, &b.data)); diff != "" {
		t.Error(diff)
	}
	for _, o := range []object{cells("text", "a", "weight", "much"), cells("prompt", "q", "completion", "a", "label", "TRUE"), cells("messages", "hello")} {
		if err := b.add(&records.Record{At: place{Path: "x.csv", Line: 9}, Fields: records.Object(o), Strings: true, Weight: 1}); !errors.Is(err, ErrFormat) || !strings.HasPrefix(err.Error(), "x.csv:9: ") {
			t.Error(err)
		}
	}
}

func TestFormatAndNamedFieldsDecide(t *testing.T) {
	f := newFake()
	const both = `{"instruction":"i","output":"o","text":"whole"}`
	if got := shown(f, read(t, "x.jsonl", both, f, Options{Format: "text"})); got[0] != "<s>[[whole</s>]]" {
		t.Error(got)
	}
	if got := shown(f, read(t, "x.jsonl", `{"m":[{"from":"human","value":"q"},{"from":"gpt","value":"a"}],"s":"sys"}`, f, Options{MessagesField: "m", SystemField: "s"})); got[0] !=
		"<s><|im_start|>system\nsys<|im_end|>\n"+user+"q"+answer+"[[a<|im_end|>]]" {
		t.Error(got)
	}
	_, err := Read(strings.NewReader(both), "x.jsonl", f, Options{Seq: 9, Format: "alpacca"})
	if err == nil || !strings.Contains(err.Error(), "question-answer") {
		t.Error(err)
	}
	_, err = Read(strings.NewReader(both), "x.jsonl", f, Options{Seq: 9, Format: "messages"})
	if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), `expected {"messages"}`) {
		t.Error(err)
	}
}

func TestBadRecordsAreSkippedOnRequestAndNamed(t *testing.T) {
	const content = "{\"text\":\"a\"}\n{\"text\":1}\n{\n{\"messages\":[{\"role\":\"nobody\",\"content\":\"x\"},{\"role\":\"assistant\",\"content\":\"x\"}]}\n{\"text\":\"b\",\"images\":[1]}\n{\"text\":\"b\"}\n"
	d := read(t, "x.jsonl", content, newFake(), Options{SkipBad: true, Template: allTemplate{}})
	if d.Report.Records != 2 || d.Report.Bad != 4 || len(d.Report.BadAt) != 4 || !strings.HasPrefix(d.Report.BadAt[1], "x.jsonl:3: ") {
		t.Errorf("%+v", d.Report)
	}
	_, err := Read(strings.NewReader(`{"text":1}`), "x.jsonl", newFake(), Options{Seq: 9, SkipBad: true})
	if !errors.Is(err, ErrEmpty) || !strings.Contains(err.Error(), `"text" is 1`) {
		t.Error(err)
	}
}

func TestConversationsWithoutATemplateAreRefused(t *testing.T) {
	_, err := Read(strings.NewReader(`{"messages":[{"role":"assistant","content":"x"}]}`), "x.jsonl", newFake(), Options{Seq: 9})
	if !errors.Is(err, chat.ErrUnsupported) || !strings.Contains(err.Error(), "x.jsonl:1: ") || !strings.Contains(err.Error(), "--chat-template") {
		t.Error(err)
	}
}

func TestTheSilentCaseIsHonouredOrRefused(t *testing.T) {
	text := string(sharedtest.Read(t, "cases/train/silent.jsonl"))
	f := newFake()
	got := shown(f, read(t, "silent.jsonl", text, f, Options{Template: allTemplate{}}))
	want := `<s>tools=[{"type":"function","function":{"name":"get"}}]` + "\n" + user + "Weather?" + answer + "Wrong answer.<|im_end|>\n" +
		user + "Again?" + answer + "[[{Look outside.}Sunny.[ get {}]<|im_end|>]]"
	if diff := cmp.Diff([]string{want}, got); diff != "" {
		t.Error(diff)
	}
	_, err := Read(strings.NewReader(text), "silent.jsonl", f, Options{Seq: 1000, Template: chatML})
	if !errors.Is(err, chat.ErrUnsupported) || !strings.Contains(err.Error(), `silent.jsonl:1: `) || !strings.Contains(err.Error(), "--ignore-key reasoning_content") {
		t.Error(err)
	}
}

func TestRealFilesOfEveryFormAreReadWhole(t *testing.T) {
	for name, want := range map[string]map[string]int{
		"gsm8k-train.jsonl":                {"question-answer": 7473},
		"mlx/train.jsonl":                  {"text": 1000},
		"litgpt_dolly.json":                {"instruction-response": 12},
		"litgpt_alpaca.json":               {"alpaca": 23},
		"axolotl_alpaca.json":              {"alpaca": 2},
		"axolotl_conversation.json":        {"sharegpt": 1},
		"fastchat_dummy_conversation.json": {"sharegpt": 500},
	} {
		for _, templated := range []bool{false, true} {
			if !templated && strings.HasPrefix(name, "gsm8k") {
				continue // long, and of a form that is tested
			}
			train, _, err := load(sharedtest.Path(t, "data/sft/"+name), newFake(), Options{Seq: 1 << 16, Template: chatML, TemplatePairs: templated})
			if err != nil {
				t.Error(err)
				continue
			}
			if diff := cmp.Diff(want, train.Report.Forms); diff != "" || train.Report.Skipped > 0 || len(train.Report.Warnings) > 0 {
				t.Errorf("%s: %s; %d skipped, %q", name, diff, train.Report.Skipped, train.Report.Warnings)
			}
		}
	}
}
