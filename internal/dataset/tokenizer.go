package dataset

import "qtool/internal/tokenizer"

// ForTokenizer makes a model's tokenizer ready for [Load]: with BOS only if the
// vocabulary asks for it, and with EOS, or the end of a turn if there is no EOS.
func ForTokenizer(t *tokenizer.Tokenizer) Tokenizer { return trained{t} }

type trained struct{ *tokenizer.Tokenizer }

func (t trained) Encode(text string, markup bool) (ids []int32, starts []int) {
	return t.EncodeWithOffsets(text, tokenizer.EncodeOptions{ParseSpecial: markup})
}

func (t trained) BOS() int32 {
	if !t.Vocab().AddBOS {
		return tokenizer.None
	}
	return t.Tokenizer.BOS()
}

func (t trained) EOS() int32 {
	if eos := t.Tokenizer.EOS(); eos != tokenizer.None {
		return eos
	}
	return t.EOT()
}
