package lora

import (
	"fmt"

	"qtool/gguf"
	"qtool/internal/model"
	"qtool/internal/tokenizer"
)

// Probe is how much an adapter changes the logits l of its base, over all tokens of a text.
type Probe struct {
	Text          string  `json:"text"` // built in, given, or token ids if the base has no tokenizer that can be used
	Tokens        int     `json:"tokens"`
	Of            int     `json:"of"`             // tokens of the whole text
	NMSE          float64 `json:"nmse"`           // Σ(l'−l)²/Σl²
	KL            float64 `json:"kl_divergence"`  // of the adapted model from the base, nats, mean over tokens
	LargestKL     float64 `json:"largest_kl"`     // of one token
	TopChanges    int     `json:"top_changes"`    // tokens after which another one is the likeliest
	LargestChange float64 `json:"largest_change"` // max |l'−l|
}

// What Probe.Text says.
const (
	ProbeBuiltIn = "built in"
	ProbeGiven   = "given"
	ProbeIDs     = "token ids"
)

// MaxProbeTokens is how many tokens of a text are computed at most.
const MaxProbeTokens = 256

// builtInProbe has prose, a question with its answer, code, numbers and other scripts, so that many
// kinds of tokens come up.
const builtInProbe = `The ferry left at a quarter past six, when the harbour was still dark. Maria counted the crates twice and wrote 48 in the book.

Question: Why does ice float on water?
Answer: Because water expands when it freezes, so that ice is lighter than the water below it.

func area(w, h float64) float64 { return w * h } // 2.5 * 4 = 10

Guten Morgen! Comment ça va ? 今天天气很好。 До свидания.`

// probeTokens are the tokens of a text, or of the built-in one if it is "".
func probeTokens(base gguf.Model, d *model.Decoder, text string) ([]int32, *Probe, error) {
	p := &Probe{Text: ProbeGiven}
	most := min(MaxProbeTokens, d.Context)
	tok, err := tokenizerOf(base)
	switch {
	case err != nil && text != "":
		return nil, nil, fmt.Errorf("the base: %w", err)
	case err != nil:
		p.Text = ProbeIDs
		ids := make([]int32, min(most, 64, d.Vocabulary))
		for i := range ids {
			ids[i] = int32(i * d.Vocabulary / len(ids))
		}
		p.Tokens, p.Of = len(ids), len(ids)
		return ids, p, nil
	}
	if text == "" {
		p.Text, text = ProbeBuiltIn, builtInProbe
	}
	ids := tok.Encode(text, tokenizer.EncodeOptions{AddSpecial: true, ParseSpecial: true})
	p.Of = len(ids)
	ids = ids[:min(len(ids), most)]
	p.Tokens = len(ids)
	return ids, p, nil
}

func tokenizerOf(m gguf.Model) (*tokenizer.Tokenizer, error) {
	v, err := tokenizer.VocabFromMetadata(m.Metadata())
	if err != nil {
		return nil, err
	}
	return tokenizer.New(v)
}
