package infer

import "strings"

// stream passes text on, but holds back an end that may be the beginning of a
// stop text.
type stream struct {
	stop  []string
	emit  func(text string) // may be nil
	shown strings.Builder   // everything passed on
	held  string
}

// write takes more text and reports whether a stop text is complete; what comes
// before it has then been passed on, and nothing may be written any more.
func (s *stream) write(text string) (stopped bool) {
	s.held += text
	first := -1
	for _, stop := range s.stop {
		if i := strings.Index(s.held, stop); stop != "" && i >= 0 && (first < 0 || i < first) {
			first = i
		}
	}
	if first >= 0 {
		s.pass(first)
		s.held = ""
		return true
	}
	s.pass(len(s.held) - s.beginning())
	return false
}

// beginning is the length of the longest end of held that begins a stop text.
func (s *stream) beginning() int {
	longest := 0
	for _, stop := range s.stop {
		for n := min(len(stop)-1, len(s.held)); n > longest; n-- {
			if strings.HasSuffix(s.held, stop[:n]) {
				longest = n
			}
		}
	}
	return longest
}

// flush passes on what is held back.
func (s *stream) flush() { s.pass(len(s.held)) }

func (s *stream) pass(n int) {
	if n <= 0 {
		return
	}
	s.shown.WriteString(s.held[:n])
	if s.emit != nil {
		s.emit(s.held[:n])
	}
	s.held = s.held[n:]
}
