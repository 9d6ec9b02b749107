package dataset

import (
	"strings"
)

// fake is a tokenizer of bytes with a few longer tokens, taken greedily, so that
// tokens cross the borders of the parts that were joined to a text.
type fake struct {
	pieces  []string // id - 256 -> text, specials first
	special int      // how many of pieces are special
	addBOS  bool
	noEOS   bool
}

const (
	fakeBOS = 256 + iota
	fakeEOS
	fakeStart
	fakeEnd
)

func newFake() *fake {
	return &fake{
		pieces:  []string{"<s>", "</s>", "<|im_start|>", "<|im_end|>", "th", "the", "\n\n", "e ", " a", ">\n", ".\n", "user", "assistant", "?N"},
		special: 4,
		addBOS:  true,
	}
}

// withoutMarker lacks the end-of-turn marker as a token.
func withoutMarker() *fake {
	f := newFake()
	f.pieces[fakeEnd-256] = "\x00"
	return f
}

func (f *fake) Encode(text string, markup bool) (ids []int32, starts []int) {
	for at := 0; at < len(text); {
		id, n := int32(text[at]), 1
		for i, p := range f.pieces {
			if (markup || i >= f.special) && len(p) > n && strings.HasPrefix(text[at:], p) {
				id, n = int32(256+i), len(p)
			}
		}
		ids, starts = append(ids, id), append(starts, at)
		at += n
	}
	return ids, starts
}

func (f *fake) Continue(text string, markup bool) []int32 {
	ids, _ := f.Encode(text, markup)
	return ids
}

func (f *fake) Restarts(id int32) bool { return id >= 256 && int(id) < 256+f.special }

func (f *fake) Piece(id int32) []byte { return []byte(f.text([]int32{id})) }

func (f *fake) BOS() int32 {
	if f.addBOS {
		return fakeBOS
	}
	return -1
}

func (f *fake) EOS() int32 {
	if f.noEOS {
		return -1
	}
	return fakeEOS
}

func (f *fake) Size() int { return 256 + len(f.pieces) }

func (f *fake) text(ids []int32) string {
	var b strings.Builder
	for _, id := range ids {
		switch {
		case id == Unscored:
			b.WriteString("·")
		case id < 256:
			b.WriteByte(byte(id))
		default:
			b.WriteString(f.pieces[id-256])
		}
	}
	return b.String()
}

// scored is the text of the targets that count.
func (f *fake) scored(ex Example) string {
	var ids []int32
	for _, t := range ex.AppendTargets(nil) {
		if t != Unscored {
			ids = append(ids, t)
		}
	}
	return f.text(ids)
}
