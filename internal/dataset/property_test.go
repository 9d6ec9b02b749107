package dataset

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"qtool/internal/sharedtest"
)

func randomContent(r *rand.Rand) string {
	parts := []string{"a", "the", "th", "e ", " ", "\n", "é", "🌍", ".", "?N", "user", "{", "assistant"}
	var b strings.Builder
	b.WriteString("x") // a newline here would be one token with the header's
	for range r.IntN(12) {
		b.WriteString(parts[r.IntN(len(parts))])
	}
	return b.String()
}

func TestOfAnyConversationExactlyTheAssistantsWordsAreScored(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	f := newFake()
	roles := []string{"user", "assistant", "tool"}
	for range 500 {
		messages := []map[string]string{{"role": "system", "content": randomContent(r)}}
		want := ""
		for range 1 + r.IntN(6) {
			m := map[string]string{"role": roles[r.IntN(len(roles))], "content": randomContent(r)}
			messages = append(messages, m)
			if m["role"] == "assistant" {
				want += m["content"] + "<|im_end|>"
			}
		}
		if want == "" {
			continue
		}
		line, err := json.Marshal(map[string]any{"messages": messages})
		if err != nil {
			t.Fatal(err)
		}
		d := read(t, "d.jsonl", string(line), f, Options{Seq: 10000})
		if got := f.scored(d.Examples[0]); got != want {
			t.Fatalf("scored %q\nexpected %q", got, want)
		}
	}
}

func TestOfAnyPairTheWholeCompletionIsScoredAfterThePromptsOwnTokens(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	f := newFake()
	for range 500 {
		prompt, completion := randomContent(r)[1:], randomContent(r)
		ex := pair(t, f, prompt, completion)
		if got := f.scored(ex); got != completion+"</s>" {
			t.Fatalf("%q + %q: scored %q", prompt, completion, got)
		}
		alone, _ := f.Encode(prompt, true)
		if got := ex.IDs[1 : 1+len(alone)]; !slices.Equal(got, alone) {
			t.Fatalf("%q + %q: the prompt has the tokens %q", prompt, completion, got)
		}
	}
}

// pair is the example of a prompt and a completion.
func pair(t *testing.T, tok Tokenizer, prompt, completion string) Example {
	t.Helper()
	line, err := json.Marshal(map[string]string{"prompt": prompt, "completion": completion})
	if err != nil {
		t.Fatal(err)
	}
	return read(t, "d.jsonl", string(line), tok, Options{Seq: 10000}).Examples[0]
}

func TestAFolderGivesBothSides(t *testing.T) {
	train, eval, err := load(sharedtest.Path(t, "data/sft/mlx"), newFake(), Options{Seq: 4096})
	if err != nil || train.Report.Examples != 1000 || eval.Report.Examples != 100 {
		t.Errorf("folder: %v", err)
	}
}
