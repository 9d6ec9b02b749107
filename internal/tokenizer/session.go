package tokenizer

import "strings"

// span is a token of a piece and the byte of the piece at which it begins.
type span struct {
	id    int32
	start int32
}

// session is the working memory of one Encode. Sessions are reused, so that the
// pieces of earlier texts, most words of a language, need no merging.
type session struct {
	merger
	known map[string][]span
	fresh []span // the tokens of a piece that is not in known

	spelled []byte // a piece in GPT-2's byte alphabet

	ids    []int32
	starts []int // nil unless offsets are wanted
	places bool
}

const (
	longestKnown = 48      // bytes of the longest piece worth remembering
	mostKnown    = 1 << 16 // pieces remembered, all forgotten at once beyond that
)

func newSession() *session { return &session{known: make(map[string][]span)} }

// remember keeps the fresh tokens of piece.
func (s *session) remember(piece string) {
	if len(piece) > longestKnown {
		return
	}
	if len(s.known) >= mostKnown {
		clear(s.known)
	}
	s.known[strings.Clone(piece)] = append([]span(nil), s.fresh...)
}

// add appends a token that begins at byte at of the text.
func (s *session) add(id int32, at int) {
	s.ids = append(s.ids, id)
	if s.places {
		s.starts = append(s.starts, at)
	}
}

// addAll appends the tokens of a piece that begins at byte base of the text.
func (s *session) addAll(spans []span, base int) {
	for _, t := range spans {
		s.ids = append(s.ids, t.id)
	}
	if s.places {
		for _, t := range spans {
			s.starts = append(s.starts, base+int(t.start))
		}
	}
}
