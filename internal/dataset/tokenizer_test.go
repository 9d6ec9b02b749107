package dataset

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"

	"qtool/gguf"
	"qtool/internal/sharedtest"
	"qtool/internal/tokenizer"
)

func realTokenizer(t testing.TB, file string) *tokenizer.Tokenizer {
	t.Helper()
	f, err := gguf.Open(sharedtest.Path(t, file))
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
	return tok
}

func scoredPieces(tok *tokenizer.Tokenizer, ex Example) string {
	var b strings.Builder
	for _, id := range ex.AppendTargets(nil) {
		if id != Unscored {
			b.Write(tok.Piece(id))
		}
	}
	return b.String()
}

// In Qwen's vocabulary the marker is a token; in Llama's it is spelled, and EOS closes each
// answer, which is an example of its own.
// scoredOfAll joins what is scored of all examples.
func scoredOfAll(tok *tokenizer.Tokenizer, d *Data) string {
	var b strings.Builder
	for _, ex := range d.Examples {
		b.WriteString(scoredPieces(tok, ex))
	}
	return b.String()
}

func TestWithRealVocabulariesExactlyTheAssistantsWordsAreScored(t *testing.T) {
	for file, end := range map[string]string{"qwen2": "", "llama-spm": "</s>"} {
		t.Run(file, func(t *testing.T) {
			tok := realTokenizer(t, "data/vocabs/ggml-vocab-"+file+".gguf")
			r := rand.New(rand.NewPCG(7, 8))
			for range 100 {
				var messages []map[string]string
				want := ""
				for range 1 + r.IntN(4) {
					question, answer := randomContent(r), randomContent(r)
					messages = append(messages, map[string]string{"role": "user", "content": question},
						map[string]string{"role": "assistant", "content": answer})
					want += answer + "<|im_end|>" + end
				}
				line, err := json.Marshal(map[string]any{"messages": messages})
				if err != nil {
					t.Fatal(err)
				}
				d := read(t, "d.jsonl", string(line), ForTokenizer(tok), Options{Seq: 10000})
				if got := scoredOfAll(tok, d); got != want {
					t.Fatalf("scored %q\nexpected %q", got, want)
				}
			}
		})
	}
}

func TestBOSIsThereOnceWhereTheVocabularyAsksForIt(t *testing.T) {
	for file, asks := range map[string]bool{"llama-spm": true, "llama-bpe": true, "qwen2": false} {
		tok := realTokenizer(t, "data/vocabs/ggml-vocab-"+file+".gguf")
		for _, text := range []string{"a b", string(tok.Piece(max(0, tok.BOS()))) + "a b"} {
			line, err := json.Marshal(map[string]string{"text": text})
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for _, id := range read(t, "d.jsonl", string(line), ForTokenizer(tok), Options{}).Examples[0].Tokens() {
				if id == tok.BOS() {
					n++
				}
			}
			if asks && n != 1 || !asks && text == "a b" && n != 0 {
				t.Errorf("%s: %q has BOS %d times", file, text, n)
			}
		}
	}
}

func TestGSM8KFitsTheSmallestRealModel(t *testing.T) {
	tok := realTokenizer(t, "data/stories260k/stories260K.gguf")
	opts := Options{Seq: 512, Truncate: true}
	train, _, err := load(sharedtest.Path(t, "data/sft/gsm8k-train.jsonl"), ForTokenizer(tok), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", train.Report)
	if r := train.Report; r.Records != 7473 || r.Scored == 0 || r.Examples+r.Skipped != r.Records {
		t.Errorf("%+v", r)
	}
	examples, eval := Split(train.Examples, 0.05, 42)
	rows := Pack(examples, opts.Seq, 42)
	t.Logf("%d examples, %d to evaluate, %d rows", len(examples), len(eval), len(rows))
	if len(rows) >= len(examples) {
		t.Error("packing joined nothing")
	}
}
