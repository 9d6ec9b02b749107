package records

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

func (s *scan) lines() error {
	at := Place{Path: s.path}
	var buf []byte
	for {
		at.Line++
		line, err := s.line(&buf, at)
		if err != nil && err != io.EOF {
			return err
		}
		if body := bytes.TrimSpace(line); len(body) > 0 {
			if err := s.object(at, body); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
	}
}

// line returns the next line, with its end; and io.EOF with the last one. It is valid until
// the next read. buf is memory for lines that are longer than the stream's buffer.
func (s *scan) line(buf *[]byte, at Place) ([]byte, error) {
	line, err := s.ReadSlice('\n')
	if err == nil || err == io.EOF {
		return line, err
	}
	*buf = append((*buf)[:0], line...)
	return s.restOfLine(buf, err, at)
}

// restOfLine appends to buf until a line ends; err is what its beginning was read with.
func (s *scan) restOfLine(buf *[]byte, err error, at Place) ([]byte, error) {
	for errors.Is(err, bufio.ErrBufferFull) {
		var more []byte
		more, err = s.ReadSlice('\n')
		if *buf = append(*buf, more...); len(*buf) > maxRecord {
			return nil, tooBig(at)
		}
	}
	if err != nil && err != io.EOF {
		return nil, s.failed(err)
	}
	return *buf, err
}

func tooBig(at Place) error {
	return fatal{Bad(at, "the record is longer than %d MiB; a JSON lines file has one record a line", maxRecord>>20)}
}
