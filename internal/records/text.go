package records

import (
	"bytes"
	"io"
	"unicode/utf8"
)

// textChunk is how much of a text is visited at once.
const textChunk = 256 << 10

// maxPacked is the most bytes that one compressed text may expand to: it is one record.
const maxPacked = 1 << 30

// text visits a text in pieces of whole characters.
func (s *scan) text() error {
	at := Place{Path: s.path, Line: 1}
	var read int64
	blank := true
	buf := make([]byte, 0, textChunk)
	for end := false; !end; {
		n, err := io.ReadFull(s, buf[len(buf):cap(buf)])
		if end = err == io.EOF || err == io.ErrUnexpectedEOF; err != nil && !end {
			return s.failed(err)
		}
		buf = buf[:len(buf)+n]
		whole := len(buf)
		if !end {
			whole = wholeCharacters(buf)
		}
		if err := checkUTF8From(at, buf[:whole], read); err != nil {
			return fatal{err}
		}
		read += int64(whole)
		if s.compression != "" && read > maxPacked {
			return fatal{Bad(Place{Path: s.path}, "the text is longer than %d MiB when it is decompressed; decompress it, or split it into several files", maxPacked>>20)}
		}
		at.Line += bytes.Count(buf[:whole], []byte("\n"))
		blank = blank && len(bytes.TrimSpace(buf[:whole])) == 0
		s.rec.At = Place{Path: s.path}
		s.rec.Text, s.rec.Last = bytes.ReplaceAll(buf[:whole], []byte("\r\n"), []byte("\n")), end
		if err := s.visit(&s.rec); err != nil {
			return err
		}
		buf = buf[:copy(buf[:cap(buf)], buf[whole:])]
	}
	if !blank {
		s.found.Records++
	}
	return nil
}

// wholeCharacters is the length of b without a character at its end that more
// bytes may follow: half of one, or a carriage return.
func wholeCharacters(b []byte) int {
	for n := len(b); n > 0 && n > len(b)-utf8.UTFMax; {
		n--
		if utf8.RuneStart(b[n]) {
			if !utf8.FullRune(b[n:]) || b[n] == '\r' {
				return n
			}
			break
		}
	}
	return len(b)
}

func checkUTF8(at Place, b []byte) error { return checkUTF8From(at, b, 0) }

// checkUTF8From is checkUTF8 for what follows the first before bytes of a record.
func checkUTF8From(at Place, b []byte, before int64) error {
	if utf8.Valid(b) {
		return nil
	}
	valid := 0
	for {
		r, n := utf8.DecodeRune(b[valid:])
		if r == utf8.RuneError && n <= 1 {
			break
		}
		valid += n
	}
	if at.Line > 0 {
		at.Line += bytes.Count(b[:valid], []byte("\n"))
	}
	return Bad(at, "byte %d of it is 0x%02x, which is not UTF-8; expected plain text or JSON records in UTF-8", before+int64(valid)+1, b[valid])
}
