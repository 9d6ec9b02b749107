package dataset

import "qtool/internal/tokenizer"

// ForTokenizer makes a model's tokenizer ready for [Load]: with BOS only if the
// vocabulary asks for it, and with EOS, or the end of a turn if there is no EOS.
func ForTokenizer(t *tokenizer.Tokenizer) Tokenizer { return trained{t} }

type trained struct{ *tokenizer.Tokenizer }

func (t trained) Encode(text string, markup bool) (ids []int32, starts []int) {
	return t.EncodeWithOffsets(text, tokenizer.EncodeOptions{ParseSpecial: markup})
}

func (t trained) Continue(text string) []int32 {
	return t.Tokenizer.Encode(text, tokenizer.EncodeOptions{Continues: true})
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

// Untokenized stands for the tokenizer of a model without vocabulary, of size
// ids: only records of token ids can be read with it.
func Untokenized(size int) Tokenizer { return untokenized(size) }

type untokenized int

func (untokenized) Encode(string, bool) (ids []int32, starts []int) { return nil, nil }
func (untokenized) Continue(string) []int32                         { return nil }
func (untokenized) BOS() int32                                      { return tokenizer.None }
func (untokenized) EOS() int32                                      { return tokenizer.None }
func (u untokenized) Size() int                                     { return int(u) }
