package dataset

import "qtool/internal/tokenizer"

// Tokenizer is what this package needs of a tokenizer. It is safe for concurrent use.
type Tokenizer interface {
	// Encode returns the ids of text, without BOS and EOS, and the offset in
	// bytes at which each begins, ascending. markup says whether the texts of
	// special tokens stand for those tokens.
	Encode(text string, markup bool) (ids []int32, starts []int)
	// Continue returns the ids of text that follows other text.
	Continue(text string, markup bool) []int32
	// Restarts is whether the text after a token is tokenized as if nothing came before.
	Restarts(id int32) bool
	Piece(id int32) []byte // the bytes of a token
	BOS() int32            // the token to put before every document, -1 for none
	EOS() int32            // the token that ends a document, -1 for none
	Size() int             // ids run from 0 to Size-1
}

// ForTokenizer makes a model's tokenizer ready for [Load]: with BOS only if the
// vocabulary asks for it, and with EOS, or the end of a turn if there is no EOS.
func ForTokenizer(t *tokenizer.Tokenizer) Tokenizer { return trained{t} }

type trained struct{ *tokenizer.Tokenizer }

func (t trained) Encode(text string, markup bool) (ids []int32, starts []int) {
	return t.EncodeWithOffsets(text, tokenizer.EncodeOptions{ParseSpecial: markup})
}

func (t trained) Continue(text string, markup bool) []int32 {
	return t.Tokenizer.Encode(text, tokenizer.EncodeOptions{Continues: true, ParseSpecial: markup})
}

func (t trained) Restarts(id int32) bool { return t.IsCutOut(id) }

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
func (untokenized) Continue(string, bool) []int32                   { return nil }
func (untokenized) Restarts(int32) bool                             { return false }
func (untokenized) Piece(int32) []byte                              { return nil }
func (untokenized) BOS() int32                                      { return tokenizer.None }
func (untokenized) EOS() int32                                      { return tokenizer.None }
func (u untokenized) Size() int                                     { return int(u) }
