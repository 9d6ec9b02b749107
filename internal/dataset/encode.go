package dataset

import (
	"fmt"

	"qtool/internal/chat"
)

// Tokenizer is what this package needs of a tokenizer.
type Tokenizer interface {
	// Encode returns the ids of text, without BOS and EOS, and the offset in
	// bytes at which each begins, ascending. markup says whether the texts of
	// special tokens stand for those tokens.
	Encode(text string, markup bool) (ids []int32, starts []int)
	// Continue returns the ids of text that follows other text, markup aside.
	Continue(text string) []int32
	BOS() int32 // the token to put before every document, -1 for none
	EOS() int32 // the token that ends a document, -1 for none
	Size() int  // ids run from 0 to Size-1
}

// encoder tokenizes records.
type encoder struct {
	tok      Tokenizer
	template chat.Template
}

// begin starts a document: with BOS, unless the text brings its own.
func (e *encoder) begin(ids []int32) document {
	var d document
	if bos := e.tok.BOS(); bos >= 0 && (len(ids) == 0 || ids[0] != bos) {
		d.put(false, bos)
	}
	return d
}

// end closes a document with a scored EOS, unless the text brought its own.
func (e *encoder) end(d *document) {
	if eos := e.tok.EOS(); eos >= 0 && (len(d.ids) == 0 || d.ids[len(d.ids)-1] != eos) {
		d.put(true, eos)
	}
}

func (r textRecord) tokenize(e *encoder) (document, error) {
	ids, _ := e.tok.Encode(r.text, true)
	d := e.begin(ids)
	d.put(true, ids...)
	e.end(&d)
	return d, nil
}

// Prompt and completion are tokenized as one text, as the model will meet it; a
// token that begins in the prompt is the prompt's.
func (r pairRecord) tokenize(e *encoder) (document, error) {
	ids, starts := e.tok.Encode(r.prompt+r.completion, true)
	d := e.begin(ids)
	for i, id := range ids {
		d.put(starts[i] >= len(r.prompt), id)
	}
	e.end(&d)
	return d, nil
}

// A token is scored if it begins in a span. A conversation that ends with the
// assistant is closed with EOS only if the vocabulary lacks the end-of-turn
// marker: else the marker itself is what ends generation.
func (r chatRecord) tokenize(e *encoder) (document, error) {
	text, err := e.template.Render(r.messages, chat.Options{})
	if err != nil {
		return document{}, err
	}
	ids, starts := e.tok.Encode(text.Text, true)
	d := e.begin(ids)
	spans := text.Spans
	for i, id := range ids {
		for len(spans) > 0 && starts[i] >= spans[0].End {
			spans = spans[1:]
		}
		d.put(len(spans) > 0 && starts[i] >= spans[0].Start, id)
	}
	marker, _ := e.tok.Encode(text.EndOfTurn, true)
	if len(marker) != 1 && r.messages[len(r.messages)-1].Role == "assistant" {
		e.end(&d)
	}
	return d, nil
}

func (r tokenRecord) tokenize(e *encoder) (document, error) {
	size := e.tok.Size()
	for i, id := range r.ids {
		if id < 0 || int(id) >= size {
			return document{}, fmt.Errorf(`"input_ids" has %d at index %d; the vocabulary has the ids 0 to %d`, id, i, size-1)
		}
		if l := r.labels[i]; l != Unscored && (l < 0 || int(l) >= size) {
			return document{}, fmt.Errorf(`"labels" has %d at index %d; expected -100 or an id of the vocabulary, 0 to %d`, l, i, size-1)
		}
	}
	return document(r), nil
}
