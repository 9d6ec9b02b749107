package dataset

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"qtool/internal/tokenizer"
)

func TestAnAnswerThatBeginsWithANewlineIsTokenizedAfterItsHeader(t *testing.T) {
	f := newFake()
	d := read(t, "x.jsonl", `{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"\nthe"}]}`, f, Options{})
	ex := d.Examples[0]
	header, _ := f.Encode(user+"q"+answer, true)
	if got := ex.IDs[1 : 1+len(header)]; !slices.Equal(got, header) {
		t.Errorf("the header has the tokens %q", got)
	}
	if d.Report.Borders != 1 || len(d.Report.Notes) != 1 || !strings.HasPrefix(d.Report.Notes[0], "1 answer with a border that") {
		t.Errorf("%d borders: %q", d.Report.Borders, d.Report.Notes)
	}
	if d = read(t, "x.jsonl", `{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"the"}]}`, f, Options{}); d.Report.Borders != 0 {
		t.Errorf("%d borders", d.Report.Borders)
	}
}

// The first answer begins with a newline: in the prompt of the second one that newline is
// one token with the header's.
func TestAnAnswerAfterOtherTokensThanThoseOfItsPromptIsAnExampleOfItsOwn(t *testing.T) {
	const record = `{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"%s"},{"role":"user","content":"r"},{"role":"assistant","content":"b"},
		{"role":"user","content":"s"},{"role":"assistant","content":"c"}]}`
	f := newFake()
	d := read(t, "x.json", fmt.Sprintf(record, `\na`), f, Options{})
	want := []string{
		"<s>" + user + "q" + answer + "[[\na<|im_end|>]]",
		"<s>" + user + "q" + answer + "\na<|im_end|>\n" + user + "r" + answer + "[[b<|im_end|>]]\n" + user + "s" + answer + "[[c<|im_end|>]]",
	}
	if diff := cmp.Diff(want, shown(f, d)); diff != "" {
		t.Error(diff)
	}
	if d.Report.Separate != 1 || d.Examples[0].Record != 1 || d.Examples[1].Record != 1 {
		t.Errorf("%d are separate; records %d and %d", d.Report.Separate, d.Examples[0].Record, d.Examples[1].Record)
	}
	d = read(t, "x.json", fmt.Sprintf(record, "a"), f, Options{})
	if len(d.Examples) != 1 || d.Report.Separate != 0 || d.Examples[0].Record != 0 {
		t.Errorf("%d examples", len(d.Examples))
	}
}

func TestATemplateThatRewritesThePastGivesAnExampleForEachAnswer(t *testing.T) {
	f := newFake()
	d := read(t, "x.json", `{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a","reasoning":"r"},{"role":"user","content":"q"},{"role":"assistant","content":"b","reasoning":"r"}]}`,
		f, Options{Template: allTemplate{forgets: true}})
	want := []string{
		"<s>" + user + "q" + answer + "[[{r}a<|im_end|>]]",
		"<s>" + user + "q" + answer + "a<|im_end|>\n" + user + "q" + answer + "[[{r}b<|im_end|>]]",
	}
	if diff := cmp.Diff(want, shown(f, d)); diff != "" {
		t.Error(diff)
	}
	if notes := strings.Join(d.Report.Notes, "\n"); !strings.Contains(notes, "1 record: past answers lose their reasoning (first x.json:1)") && !strings.Contains(notes, "x.json: record 1") {
		t.Errorf("%q", notes)
	}
}

func TestTrainOnLastLearnsTheLastAnswer(t *testing.T) {
	f := newFake()
	const record = `{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"},{"role":"user","content":"r"},{"role":"assistant","content":"b"},{"role":"user","content":"s"}]}`
	chat := user + "q" + answer + "%sa<|im_end|>%s\n" + user + "r" + answer + "%sb<|im_end|>%s"
	for on, want := range map[string]string{
		"assistant":         "<s>" + fmt.Sprintf(chat, "[[", "]]", "[[", "]]"),
		"last":              "<s>" + fmt.Sprintf(chat, "", "", "[[", "]]"),
		"all":               "<s>[[" + fmt.Sprintf(chat, "", "", "", "") + "\n" + user + "s<|im_end|>\n</s>]]",
		`after:assistant\n`: "<s>" + fmt.Sprintf(chat, "", "", "[[", "") + "\n" + user + "s<|im_end|>\n</s>]]",
	} {
		what, err := ParseTrainOn(on)
		if err != nil {
			t.Fatal(err)
		}
		d := read(t, "x.jsonl", record, f, Options{TrainOn: what})
		if diff := cmp.Diff([]string{want}, shown(f, d)); diff != "" {
			t.Errorf("%s: %s", on, diff)
		}
	}
	for _, s := range []string{"first", "after:", "after"} {
		if _, err := ParseTrainOn(s); err == nil {
			t.Errorf("%q was taken", s)
		}
	}
}

func TestTrainOnAMarkerLearnsWhatFollowsTheLast(t *testing.T) {
	f := newFake()
	on, err := ParseTrainOn(`after:A:`)
	if err != nil {
		t.Fatal(err)
	}
	d := read(t, "x.jsonl", "{\"text\":\"Q:x A:y Q:t A:he\"}\n{\"text\":\"no marker\"}\n{\"prompt\":\"q A:\",\"completion\":\"b\"}\n", f, Options{TrainOn: on})
	if diff := cmp.Diff([]string{"<s>Q:x A:y Q:t A:[[he</s>]]", "<s>q A:[[b</s>]]"}, shown(f, d)); diff != "" {
		t.Error(diff)
	}
	if d.Report.Skipped != 1 || len(d.Report.Warnings) != 1 || !strings.Contains(d.Report.Warnings[0], `"A:"`) {
		t.Errorf("%+v", d.Report)
	}
	d = read(t, "x.jsonl", `{"prompt":"q","completion":"a"}`, f, Options{TrainOn: TrainOn{mode: learnAll}})
	if diff := cmp.Diff([]string{"<s>[[qa</s>]]"}, shown(f, d)); diff != "" {
		t.Error(diff)
	}
}

func TestEmptyAnswersAreCountedAndNotLearned(t *testing.T) {
	const content = `{"prompt":"Who?","completion":" Tom."}
{"prompt":"a","completion":""}
{"text":""}
{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":" \n"},{"role":"user","content":"q"},{"role":"assistant","content":"a"}]}
`
	f := newFake()
	d := read(t, "x.jsonl", content, f, Options{})
	want := []string{"<s>Who?[[ Tom.</s>]]", "<s>" + user + "q" + answer + " \n<|im_end|>\n" + user + "q" + answer + "[[a<|im_end|>]]"}
	if diff := cmp.Diff(want, shown(f, d)); diff != "" {
		t.Error(diff)
	}
	if d.Report.Empty != 3 || d.Report.Skipped != 2 || len(d.Report.Warnings) != 1 || !strings.Contains(d.Report.Warnings[0], "x.jsonl:2, x.jsonl:3, x.jsonl:4") {
		t.Errorf("%+v", d.Report)
	}
	d = read(t, "x.jsonl", content, f, Options{KeepEmpty: true})
	if got := shown(f, d); len(got) != 4 || got[1] != "<s>a[[</s>]]" || d.Report.Empty != 3 {
		t.Errorf("%q", got)
	}
}

func TestMarkersThatTheVocabularySpellsAreWarnedOf(t *testing.T) {
	const record = `{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]}`
	if d := read(t, "x.jsonl", record, newFake(), Options{}); len(d.Report.Warnings) > 0 {
		t.Error(d.Report.Warnings)
	}
	d := read(t, "x.jsonl", record, withoutMarker(), Options{})
	if len(d.Report.Warnings) != 1 || !strings.Contains(d.Report.Warnings[0], "writes <|im_end|>, which") {
		t.Errorf("%q", d.Report.Warnings)
	}
}

// met is what holds of every example: cut before any run of scored tokens, its tokens are
// those of its text as inference tokenizes it.
func met(t *testing.T, tok *tokenizer.Tokenizer, wrapped Tokenizer, ex *Example, prompts map[string]bool) {
	t.Helper()
	spans := ex.Scored
	if spans == nil {
		spans = []Span{{From: 0}}
	}
	for _, s := range spans {
		held := ex.IDs[:s.From+1]
		text := tok.Decode(held, tokenizer.DecodeOptions{ShowSpecial: true})
		if wrapped.BOS() >= 0 {
			text = tok.Decode(held[1:], tokenizer.DecodeOptions{ShowSpecial: true})
		}
		if !prompts[text] {
			t.Fatalf("%q is the prompt of nothing", text)
		}
		if want := tok.Encode(text, tokenizer.EncodeOptions{AddSpecial: true, ParseSpecial: true}); !slices.Equal(want, held) {
			t.Fatalf("before an answer are the tokens %v; inference has %v for %q", held, want, text)
		}
	}
}

func TestEveryAnswerFollowsTheTokensThatInferenceHasThere(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	words := []string{"a", " the", "\n", "\n\n", " ", "  ", "é", "🌍", ".", "?N", "ing", "<|im_end|>", "12", "'s", "\t"}
	content := func() string {
		var b strings.Builder
		for range 1 + r.IntN(6) {
			b.WriteString(words[r.IntN(len(words))])
		}
		return b.String() + "."
	}
	for _, file := range []string{"qwen2", "llama-bpe", "llama-spm"} {
		tok := realTokenizer(t, "data/vocabs/ggml-vocab-"+file+".gguf")
		wrapped := ForTokenizer(tok)
		for range 200 {
			var messages []map[string]string
			prompts := map[string]bool{}
			text := ""
			for range 1 + r.IntN(4) {
				q, a := content(), content()
				messages = append(messages, map[string]string{"role": "user", "content": q}, map[string]string{"role": "assistant", "content": a})
				text += user + q + answer
				prompts[text] = true
				text += a + "<|im_end|>\n"
			}
			line, err := json.Marshal(map[string]any{"messages": messages})
			if err != nil {
				t.Fatal(err)
			}
			d := read(t, "d.jsonl", string(line), wrapped, Options{Seq: 10000})
			for i := range d.Examples {
				met(t, tok, wrapped, &d.Examples[i], prompts)
			}
		}
		for range 200 {
			p := strings.TrimPrefix(content(), "<|im_end|>")
			ex := pair(t, wrapped, p, content())
			met(t, tok, wrapped, &ex, map[string]bool{p: true})
		}
	}
}
