package convert

import (
	"errors"
	"fmt"

	"qtool/internal/input"
	"qtool/internal/tokenizer"
)

// readVocab reads the tokenizer. It must have a token for each row of the
// embedding, since llama.cpp takes the size of the vocabulary from its list.
func (f *family) readVocab(dir string, d *dims, opts Options) (*tokenizer.Vocab, error) {
	known := tokenizer.HFOptions{Arch: f.arch, Pre: opts.Pre, Size: d.vocab}
	if f.words != nil {
		f.words(&known, d)
	}
	vocab, err := tokenizer.VocabFromHF(input.Folder(dir), known)
	if errors.Is(err, tokenizer.ErrUnsupported) {
		return nil, fmt.Errorf("%w: %w", ErrUnsupported, err)
	}
	if err != nil {
		return nil, err
	}
	if n := len(vocab.Tokens); n != d.vocab {
		return nil, invalid("the tokenizer has %d tokens, vocab_size is %d", n, d.vocab)
	}
	return vocab, nil
}

// llamaWords knows two tokenizers by the size of their vocabularies, as llama.cpp
// does: that of Code Llama, and that of StarCoder, which some small models took over.
func llamaWords(o *tokenizer.HFOptions, d *dims) {
	const codeLlama, starCoder = 32016, 49152
	o.StatesPrefix = true
	switch d.vocab {
	case codeLlama:
		o.Special = map[string]string{"eot": "▁<EOT>"}
	case starCoder:
		o.NoBOS = true
	}
}

// gemmaWords are SentencePiece's, but for the blank before a text.
func gemmaWords(o *tokenizer.HFOptions, _ *dims) { o.NoSpacePrefix = true }

// phiWords has tokens in tokenizer.json that stand in the place of SentencePiece's.
func phiWords(o *tokenizer.HFOptions, _ *dims) { o.AddedByJSON = true }

// glmWords end a turn where the next speaker's begins.
func glmWords(bos, eom string) func(*tokenizer.HFOptions, *dims) {
	return func(o *tokenizer.HFOptions, _ *dims) {
		const end = "<|endoftext|>"
		o.Special = map[string]string{"bos": bos, "eos": end, "eot": "<|user|>", "eom": eom, "unknown": end}
	}
}
