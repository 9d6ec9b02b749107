package tokenizer

import (
	"fmt"
	"sync"
)

// EncodeOptions say what Encode does beyond the text itself.
type EncodeOptions struct {
	// AddSpecial adds BOS and EOS where the vocabulary asks for them and the text does not
	// bring them itself.
	AddSpecial bool
	// ParseSpecial turns the spelling of control tokens in the text into those
	// tokens. User-defined tokens are recognised in any case.
	ParseSpecial bool
	// Continues says that other text comes before, so that nothing is put where a
	// text begins.
	Continues bool
}

// Tokenizer encodes and decodes. It is safe for concurrent use.
type Tokenizer struct {
	vocab    *Vocab
	ids      map[string]int32
	pieces   [][]byte // the bytes of each token
	special  *specials
	tidies   bool // the vocabulary wants spaces tidied after decoding
	family   encoder
	sessions sync.Pool
}

// An encoder turns one fragment of text, without special tokens, into tokens.
type encoder interface {
	encode(s *session, text string, base int, opening bool)
}

// New builds a tokenizer. v must not be changed afterwards. It fails with
// [ErrInvalid] if v contradicts itself and with [ErrUnsupported] if its family
// or pre-tokenizer is not known.
func New(v *Vocab) (*Tokenizer, error) {
	if err := v.check(); err != nil {
		return nil, err
	}
	t := &Tokenizer{vocab: v, ids: make(map[string]int32, len(v.Tokens))}
	for i, text := range v.Tokens {
		if other, dup := t.ids[text]; dup {
			return nil, fmt.Errorf("%w: tokens %d and %d are both %q", ErrInvalid, other, i, text)
		}
		t.ids[text] = int32(i)
	}
	var err error
	switch v.Model {
	case ModelSPM:
		t.family, err = newSPM(v, t.ids)
	case ModelBPE:
		var b *bpe
		if b, err = newBPE(v, t.ids); err == nil {
			t.family, t.tidies = b, !b.rules.keepSpaces
		}
	default:
		err = fmt.Errorf("%w: family %q", ErrUnsupported, v.Model)
	}
	if err != nil {
		return nil, err
	}
	t.special = newSpecials(v, t.ids)
	t.pieces = t.makePieces()
	t.sessions.New = func() any { return newSession() }
	return t, nil
}

func (v *Vocab) check() error {
	n := len(v.Tokens)
	if n == 0 {
		return fmt.Errorf("%w: it has no tokens", ErrInvalid)
	}
	if len(v.Types) != n || v.Model == ModelSPM && len(v.Scores) != n {
		return fmt.Errorf("%w: %d tokens have %d types and %d scores", ErrInvalid, n, len(v.Types), len(v.Scores))
	}
	inside := func(what string, ids ...int32) error {
		for _, id := range ids {
			if id < None || int(id) >= n {
				return fmt.Errorf("%w: %s token %d is outside the vocabulary of %d", ErrInvalid, what, id, n)
			}
		}
		return nil
	}
	for _, s := range specialIDs {
		if err := inside(s.key, *s.id(v)); err != nil {
			return err
		}
	}
	for i, t := range v.Tokens {
		if t == "" {
			return fmt.Errorf("%w: token %d is empty", ErrInvalid, i)
		}
	}
	for _, ids := range [][]int32{v.LeftStrip, v.RightStrip} {
		for _, id := range ids {
			if id < 0 || int(id) >= n {
				return fmt.Errorf("%w: stripping token %d is outside the vocabulary of %d", ErrInvalid, id, n)
			}
		}
	}
	if v.AddBOS && v.BOS == None || v.AddEOS && v.EOS == None {
		return fmt.Errorf("%w: it asks for a BOS or EOS token that it does not have", ErrInvalid)
	}
	return nil
}

// Encode turns text into token ids. Bytes that are not UTF-8 become U+FFFD in a
// byte-level vocabulary and byte tokens in a sentencepiece one.
func (t *Tokenizer) Encode(text string, opts EncodeOptions) []int32 {
	ids, _ := t.encode(text, opts, false)
	return ids
}

// EncodeWithOffsets is Encode with, for each token, the byte of text at which it
// begins: 0 for an added BOS, len(text) for an added EOS. Offsets never decrease.
func (t *Tokenizer) EncodeWithOffsets(text string, opts EncodeOptions) (ids []int32, starts []int) {
	return t.encode(text, opts, true)
}

func (t *Tokenizer) encode(text string, opts EncodeOptions, places bool) (ids []int32, starts []int) {
	s := t.sessions.Get().(*session)
	defer t.sessions.Put(s)
	s.ids, s.starts, s.places = make([]int32, 0, len(text)/4+2), nil, places
	var fragments []fragment
	if text != "" {
		fragments = t.special.partition(text, t.vocab.Tokens, opts.ParseSpecial)
	}
	n := len(fragments)
	if opts.AddSpecial && t.vocab.AddBOS && !(n > 0 && fragments[0].id == t.vocab.BOS) {
		s.add(t.vocab.BOS, 0)
	}
	opening := !opts.Continues
	for _, f := range fragments {
		if f.id >= 0 {
			s.add(f.id, f.start)
		} else {
			t.family.encode(s, text[f.start:f.end], f.start, opening)
		}
		opening = f.id >= 0
	}
	if opts.AddSpecial && t.vocab.AddEOS && !(n > 0 && fragments[n-1].id == t.vocab.EOS) {
		s.add(t.vocab.EOS, len(text))
	}
	ids, starts = s.ids, s.starts
	s.ids, s.starts = nil, nil
	return ids, starts
}

// Vocab is the vocabulary that the tokenizer was built from.
func (t *Tokenizer) Vocab() *Vocab { return t.vocab }

// Size is the number of tokens.
func (t *Tokenizer) Size() int { return len(t.vocab.Tokens) }

// BOS is the token that begins a text, [None] if there is none.
func (t *Tokenizer) BOS() int32 { return t.vocab.BOS }

// EOS is the token that ends a text, [None] if there is none.
func (t *Tokenizer) EOS() int32 { return t.vocab.EOS }

// EOT is the token that ends a turn, stated or known by its text; [None] if
// there is none.
func (t *Tokenizer) EOT() int32 { return t.special.eot }

// IsEOG reports whether a generation ends with id.
func (t *Tokenizer) IsEOG(id int32) bool { return t.special.eog[id] }

// IsCutOut reports whether Encode cuts the text of id out of a text before anything else,
// if only where special tokens are parsed: what stands on one side of it does not change
// the tokens of the other.
func (t *Tokenizer) IsCutOut(id int32) bool {
	return id >= 0 && int(id) < len(t.special.roles) && t.special.roles[id]&(hidden|cutAlways) != 0
}

// Find is the id of the token whose text in the vocabulary is token.
func (t *Tokenizer) Find(token string) (id int32, ok bool) {
	id, ok = t.ids[token]
	return id, ok
}
