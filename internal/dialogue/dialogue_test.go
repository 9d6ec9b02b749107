package dialogue

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"qtool/fixtures"
	"qtool/fixtures/vocabulary"
	"qtool/gguf"
	"qtool/internal/chat"
	"qtool/internal/dataset"
	"qtool/internal/tokenizer"
)

// tokens makes a tokenizer of bytes and some control tokens.
func tokens(t *testing.T, template string, control ...string) *tokenizer.Tokenizer {
	t.Helper()
	v, err := vocabulary.Train(nil, 259)
	if err != nil {
		t.Fatal(err)
	}
	md := fixtures.TinyLlama(1, fixtures.Shape{Vocabulary: v}).Metadata().Clone()
	var (
		texts, _  = md.Get("tokenizer.ggml.tokens")
		scores, _ = md.Get("tokenizer.ggml.scores")
		types, _  = md.Get("tokenizer.ggml.token_type")
	)
	for _, c := range control {
		texts, scores, types = append(texts.([]string), c), append(scores.([]float32), 0), append(types.([]int32), 3)
	}
	md.Set("tokenizer.ggml.tokens", texts)
	md.Set("tokenizer.ggml.scores", scores)
	md.Set("tokenizer.ggml.token_type", types)
	if template != "" {
		md.Set("tokenizer.chat_template", template)
	}
	vocab, err := tokenizer.VocabFromMetadata(md)
	if err != nil {
		t.Fatal(err)
	}
	tok, err := tokenizer.New(vocab)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func template(t *testing.T, tok *tokenizer.Tokenizer, name string) *chat.Template {
	t.Helper()
	got, err := dataset.TemplateOf(tok, name, nil)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func ask(t *testing.T, d *Dialogue, question string, context, room int) *Turn {
	t.Helper()
	turn, err := d.Ask(question, context, room)
	if err != nil {
		t.Fatal(err)
	}
	return turn
}

func TestTheModelReadsWhatTrainingReads(t *testing.T) {
	tok := tokens(t, "", "<|im_start|>", "<|im_end|>")
	ml := template(t, tok, "chatml")
	d := New(tok, ml)
	if _, err := d.SetSystem("Be kind."); err != nil {
		t.Fatal(err)
	}
	d.Keep(ask(t, d, "One?", 1000, 1), "Two.")
	turn := ask(t, d, "Three?", 1000, 1)

	// The example that finetune makes of the same conversation, up to its last answer.
	const record = `{"messages":[{"role":"system","content":"Be kind."},{"role":"user","content":"One?"},` +
		`{"role":"assistant","content":"Two."},{"role":"user","content":"Three?"},{"role":"assistant","content":"Four."}]}`
	data, err := dataset.Read(strings.NewReader(record), "x.jsonl", dataset.ForTokenizer(tok), dataset.Options{Seq: 1000, Template: ml})
	if err != nil {
		t.Fatal(err)
	}
	var learned []int32
	for _, example := range data.Examples {
		learned = example.Tokens()
	}
	if n := len(turn.Tokens); len(learned) <= n || !slices.Equal(learned[:n], turn.Tokens) {
		t.Errorf("the model reads %v, and learned from %v", turn.Tokens, learned)
	}
}

func TestATextThatAnswersContinueIsThePromptOfTheNextTurn(t *testing.T) {
	for name, c := range map[string]struct{ generated, end string }{
		"chatml": {"Two.", "<|im_end|>"},
		"vicuna": {" Two.", "</s>"}, // the template writes the blank, where it shows an answer
		"alpaca": {"Two.", "</s>"},
		"gemma":  {"Two.", "<end_of_turn>"},
		"llama3": {"Two.", "<|eot_id|>"},
	} {
		tok := tokens(t, "", "<|im_start|>", "<|im_end|>", "<start_of_turn>", "<end_of_turn>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
		d := New(tok, template(t, tok, name))
		first := ask(t, d, "One?", 1000, 1)
		d.Keep(first, c.generated)
		next := ask(t, d, "Three?", 1000, 1)
		answer := append(slices.Clone(first.Tokens), dataset.ForTokenizer(tok).Continue(c.generated+c.end, true)...)
		if len(next.Tokens) < len(answer) || !slices.Equal(next.Tokens[:len(answer)], answer) {
			t.Errorf("%s: the prompt does not begin with the first one and its answer: %q", name, next.Text)
		}
	}
}

func TestTheOldestIsForgottenWhereTheContextIsFull(t *testing.T) {
	tok := tokens(t, "", "<|im_start|>", "<|im_end|>")
	d := New(tok, template(t, tok, "chatml"))
	if _, err := d.SetSystem("SYSTEM"); err != nil {
		t.Fatal(err)
	}
	const context, room = 400, 50
	said := 0
	for i := range 12 {
		turn := ask(t, d, strings.Repeat("q", 20)+string(rune('a'+i)), context, room)
		if n := len(turn.Tokens) + room; n > context {
			t.Fatalf("turn %d: %d tokens", i, n)
		}
		if turn.Forgotten > 0 {
			said++
			if n := len(turn.Tokens); n > context/2 {
				t.Errorf("turn %d: %d tokens after something was forgotten", i, n)
			}
		}
		if !strings.Contains(turn.Text, "SYSTEM") {
			t.Errorf("turn %d: the system message is gone", i)
		}
		before := d.Exchanges()
		d.Keep(turn, strings.Repeat("a", 10))
		if d.Exchanges() != before+1-turn.Forgotten {
			t.Errorf("turn %d: %d exchanges after %d and %d forgotten", i, d.Exchanges(), before, turn.Forgotten)
		}
	}
	if said < 2 {
		t.Errorf("something was forgotten %d times", said)
	}
	before := d.Exchanges()
	if _, err := d.Ask(strings.Repeat("q", 500), context, room); !errors.Is(err, ErrTooLong) || d.Exchanges() != before {
		t.Errorf("a message longer than the context: %v", err)
	}
	if turn := ask(t, d, strings.Repeat("q", 320), context, room); turn.Forgotten != before {
		t.Errorf("a message that fits alone: %d of %d exchanges forgotten", turn.Forgotten, before)
	}
	d.Reset()
	if d.Exchanges() != 0 || d.System() != "SYSTEM" {
		t.Error("a reset leaves exchanges, or takes the system message away")
	}
}

func TestThoughtsOfEarlierTurnsGoWhereTheTemplateDropsThem(t *testing.T) {
	tok := tokens(t, "", "<|im_start|>", "<|im_end|>")
	const source = `{% for m in messages %}<|im_start|>{{ m.role }}
{{ m.content.split('</think>')[-1] }}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}`
	drops, err := dataset.TemplateFrom(tok, "x", source, nil)
	if err != nil {
		t.Fatal(err)
	}
	d := New(tok, drops)
	first := ask(t, d, "One?", 1000, 1)
	d.Keep(first, "<think>Hm.</think>Two.")
	next := ask(t, d, "Three?", 1000, 1)
	if strings.Contains(next.Text, "Hm.") || !strings.Contains(next.Text, "Two.") {
		t.Errorf("the next prompt is %q", next.Text)
	}
	if n := len(first.Tokens); !slices.Equal(next.Tokens[:n], first.Tokens) {
		t.Error("what the model can remember is not the whole first prompt")
	}
}

func TestEndsOfTurnsThatTheVocabularyDoesNotKnow(t *testing.T) {
	for _, c := range []struct {
		name, template string
		control        []string
		tokens         int
		texts          []string
	}{
		{"an end of text by its name", "chatml", []string{"<|im_start|>", "<|im_end|>"}, 0, nil},
		{"a token of the template alone", "command-r", []string{"<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>"}, 1, nil},
		{"a text that is no token", "chatml", nil, 0, []string{"<|im_end|>"}},
		{"EOS", "zephyr", nil, 0, nil},
		{"no template", "none", nil, 0, nil},
	} {
		tok := tokens(t, "", c.control...)
		ids, texts := New(tok, template(t, tok, c.template)).Ends()
		if len(ids) != c.tokens || !slices.Equal(texts, c.texts) {
			t.Errorf("%s: tokens %v, texts %q", c.name, ids, texts)
		}
	}
}

func TestSystemMessages(t *testing.T) {
	tok := tokens(t, "")
	refuses, err := dataset.TemplateFrom(tok, "x", `{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}{{ messages[-1].content }}`, nil)
	if err != nil {
		t.Fatal(err)
	}
	d := New(tok, refuses)
	if _, err := d.SetSystem("S"); err == nil || d.System() != "" {
		t.Errorf("a template that refuses it: %v, %q", err, d.System())
	}
	leavesOut, err := dataset.TemplateFrom(tok, "x", `{{ messages[-1].content }}`, nil)
	if err != nil {
		t.Fatal(err)
	}
	if shown, err := New(tok, leavesOut).SetSystem("S"); err != nil || shown {
		t.Errorf("a template that leaves it out: %v, shown: %v", err, shown)
	}
	if shown, err := New(tok, template(t, tok, "chatml")).SetSystem("S"); err != nil || !shown {
		t.Errorf("a template that writes it: %v, shown: %v", err, shown)
	}
	if _, err := New(tok, nil).SetSystem("S"); !errors.Is(err, chat.ErrUnsupported) {
		t.Errorf("without a template: %v", err)
	}
}

func TestWithoutATemplateEveryMessageIsAText(t *testing.T) {
	tok := tokens(t, "")
	d := New(tok, nil)
	first := ask(t, d, "One", 100, 1)
	d.Keep(first, " two")
	if next := ask(t, d, "One", 100, 1); !slices.Equal(next.Tokens, first.Tokens) || d.Exchanges() != 0 {
		t.Errorf("%v, then %v", first.Tokens, next.Tokens)
	}
}

func TestTheTemplateIsTheOneOfTheTraining(t *testing.T) {
	const own = `{{ messages[-1].content }}|own`
	trained := func(keys ...any) *gguf.Metadata {
		md := &gguf.Metadata{}
		for i := 0; i < len(keys); i += 2 {
			md.Set(keys[i].(string), keys[i+1])
		}
		return md
	}
	chatML := []string{"<|im_start|>", "<|im_end|>"}
	for _, c := range []struct {
		name    string
		own     string
		control []string
		choice  Choice
		prompt  string // of the message x
	}{
		{"named", own, nil, Choice{Name: "zephyr"}, "<|user|>\nx</s>\n<|assistant|>\n"},
		{"none", own, nil, Choice{Name: "none"}, "x"},
		{"the model's", own, nil, Choice{}, "x|own"},
		{"none of the model, markers", "", chatML, Choice{}, "<|im_start|>user\nx<|im_end|>\n<|im_start|>assistant\n"},
		{"none of the model, no markers", "", nil, Choice{}, "x"},
		{"the embedded model", "", nil, Choice{Embedded: true}, "Question: x\nAnswer:"},
		{"adapter, the model's", own, nil, Choice{Adapters: []*gguf.Metadata{trained("qtool.version", "v1", "qtool.train.template", "model")}}, "x|own"},
		{"adapter, named", own, nil, Choice{Adapters: []*gguf.Metadata{trained("qtool.train.template", "zephyr")}}, "<|user|>\nx</s>\n<|assistant|>\n"},
		{"adapter, a file", own, nil, Choice{Adapters: []*gguf.Metadata{trained("qtool.train.template", "mine.jinja")}}, "x|own"},
		{"adapter, none", own, nil, Choice{Adapters: []*gguf.Metadata{trained("qtool.version", "v1")}}, "x"},
		{"adapter of another maker", own, nil, Choice{Adapters: []*gguf.Metadata{trained(), nil}}, "x|own"},
		{"the flag goes before the adapter", own, nil, Choice{Name: "none", Adapters: []*gguf.Metadata{trained("qtool.train.template", "zephyr")}}, "x"},
		{"embedded, its data", "", nil, Choice{Embedded: true, Adapters: []*gguf.Metadata{trained("qtool.version", "v1", "qtool.train.data", []string{"embedded"})}}, "Question: x\nAnswer:"},
		{"embedded, other data", "", nil, Choice{Embedded: true, Adapters: []*gguf.Metadata{trained("qtool.version", "v1", "qtool.train.data", []string{"a.txt"})}}, "x"},
	} {
		tok := tokens(t, c.own, c.control...)
		chosen, err := Choose(tok, c.choice)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got := ask(t, New(tok, chosen.Template), "x", 1000, 1).Text; got != c.prompt {
			t.Errorf("%s: %q, want %q", c.name, got, c.prompt)
		}
	}
	if _, err := Choose(tokens(t, own), Choice{Name: "missing.jinja"}); err == nil {
		t.Error("a template that is not there was found")
	}
}

func TestMessagesOfLines(t *testing.T) {
	const text = "one\n\n  \ntwo \\\nlines\\\n\n\"\"\"\nthree\n\n  lines\n\"\"\"\n\"\"\"one\"\"\"\n//etc is a path\n/reset\n/system Be kind.\n\"\"\"/no command\nbut \"\"\" text\"\"\"  \nend\\"
	lines := strings.Split(text, "\n")
	next := func(bool) (string, error) {
		if len(lines) == 0 {
			return "", io.EOF
		}
		line := lines[0]
		lines = lines[1:]
		return line, nil
	}
	want := []Input{
		{Text: "one"}, {Text: "two \nlines\n"}, {Text: "three\n\n  lines"}, {Text: "one"}, {Text: "/etc is a path"},
		{Command: "reset"}, {Command: "system", Args: "Be kind."}, {Text: "/no command\nbut \"\"\" text"}, {Text: "end\n"},
	}
	var got []Input
	for {
		in, err := Next(next)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, in)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	lines = []string{"/pasted\nlines", "/no \\", "command"}
	for _, want := range []string{"/pasted\nlines", "/no \ncommand"} {
		if in, err := Next(next); err != nil || in.Text != want {
			t.Errorf("%+v, %v, want %q", in, err, want)
		}
	}
	lines = []string{`"""`, "open"}
	if _, err := Next(next); !errors.Is(err, ErrInput) {
		t.Errorf("quotes that stay open: %v", err)
	}
}
