package train_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"qtool/gguf"
	"qtool/internal/adapt"
	"qtool/internal/chat"
	"qtool/internal/dataset"
	"qtool/internal/infer"
	"qtool/internal/kernel/product"
	"qtool/internal/model"
	"qtool/internal/records"
	"qtool/internal/sharedtest"
	"qtool/internal/tokenizer"
	"qtool/train"
)

// What is scored is what a model that learned it by heart generates: from the tokens that
// the prompt alone has, greedily, and then it stops.
func TestAModelThatLearnedByHeartGeneratesTheScoredTokens(t *testing.T) {
	stories := sharedtest.Path(t, "data/stories260k/stories260K.gguf")
	write := func(text string) string {
		path := filepath.Join(t.TempDir(), "data.jsonl")
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, c := range map[string]struct {
		data   string
		epochs int
	}{
		"blank at the end of prompts":   {sharedtest.Path(t, "cases/train/border_space.jsonl"), 8},
		"blank at the start of answers": {sharedtest.Path(t, "cases/train/border_nospace.jsonl"), 8},
		"words go on": {write(`{"prompt":"Once upon a ti","completion":"me there was a dog."}
{"prompt":"The cat sa","completion":"t on the mat."}
{"prompt":"She ran to her mo","completion":"ther."}
{"prompt":"He had a red bal","completion":"l."}
`), 150},
		"line breaks": {write(`{"prompt":"Who is it?\n","completion":"\nIt is Tom."}
{"prompt":"Where is it?","completion":"\n\nIn the box."}
{"prompt":"What is it?\n\n","completion":" A cat."}
`), 150},
		"conversations": {write(`{"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":"\nYes"},{"role":"user","content":"A?"},{"role":"assistant","content":" no."}]}
{"messages":[{"role":"user","content":"Go"},{"role":"assistant","content":"the end"}]}
`), 150},
	} {
		t.Run(name, func(t *testing.T) {
			j := train.NewJob()
			j.Model, j.Data, j.Adapter = stories, []string{c.data}, filepath.Join(t.TempDir(), "a.gguf")
			j.Targets, j.Seq, j.EvalSplit = []string{"all", "output"}, 256, 0
			j.Config.Rate, j.Config.Epochs, j.Config.Batch = 5e-3, c.epochs, 4
			if _, err := j.Run(context.Background()); err != nil {
				t.Fatal(err)
			}
			recited(t, stories, j.Adapter, c.data)
		})
	}
}

// recited compares what the adapted model generates with what is scored in the data.
func recited(t *testing.T, base, adapter, data string) {
	f, err := gguf.Open(base)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	v, err := tokenizer.VocabFromMetadata(f.Metadata())
	if err != nil {
		t.Fatal(err)
	}
	tok, err := tokenizer.New(v)
	if err != nil {
		t.Fatal(err)
	}
	decoder, err := model.Load(f, model.Options{})
	if err != nil {
		t.Fatal(err)
	}
	a, err := adapt.Open(adapter)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Attach(decoder); err != nil {
		t.Fatal(err)
	}
	pool := product.NewPool(1)
	defer pool.Close()
	set, err := records.Find([]records.Source{{Path: data, Weight: 1}})
	if err != nil {
		t.Fatal(err)
	}
	d, _, err := dataset.Load(set, nil, dataset.ForTokenizer(tok), dataset.Options{Seq: 256, Template: chat.ChatML(chat.Options{})})
	if err != nil {
		t.Fatal(err)
	}
	session := infer.NewSession(decoder, tok, pool)
	seen := map[string]bool{}
	for _, ex := range d.Examples {
		spans := ex.Scored
		if spans == nil {
			t.Fatal("an example without a prompt")
		}
		for _, s := range spans {
			held := ex.IDs[:s.From+1]
			prompt := tok.Decode(held, tokenizer.DecodeOptions{})
			if seen[prompt] {
				continue
			}
			seen[prompt] = true
			ids := tok.Encode(prompt, tokenizer.EncodeOptions{AddSpecial: true, ParseSpecial: true})
			if !slices.Equal(ids, held) {
				t.Fatalf("the prompt %q has the tokens %v; trained were %v", prompt, ids, held)
			}
			want := ex.IDs[s.From+1 : s.To+1]
			g, err := session.Generate(context.Background(), ids, infer.GenerateOptions{MaxTokens: len(want) + 5}, nil)
			if err != nil {
				t.Fatal(err)
			}
			got := g.Tokens
			if g.Reason == infer.StopEnd && (len(got) == 0 || !tok.IsEOG(got[len(got)-1])) {
				got = append(got, tok.EOS())
			}
			if !slices.Equal(got, want) {
				t.Errorf("after %q: %q %v\nscored: %q %v", prompt, g.Text, got, tok.Decode(want, tokenizer.DecodeOptions{}), want)
			}
		}
	}
	if len(seen) == 0 {
		t.Error("nothing was compared")
	}
}
