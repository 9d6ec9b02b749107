package records

import (
	"bytes"
	"io"

	"qtool/internal/records/parquet"
)

// maxHeld is the largest Parquet file that is taken into memory, as is one that is
// compressed or comes from standard input: its end has to be read first.
const maxHeld = 256 << 20

// parquet visits the rows of a Parquet file.
func (s *scan) parquet() error {
	r, size, err := s.randomAccess()
	if err != nil {
		return err
	}
	f, err := parquet.Open(r, size)
	if err != nil {
		return s.notParquet(err)
	}
	s.found.Expanded = f.Size()
	if s.compression == "" {
		s.read.n = size
	}
	names := f.Names()
	s.rec.Fields = make(Object, len(names))
	at := Place{Path: s.path}
	var stopped error
	err = f.Read(func(row int, fields [][]byte, err error) error {
		at.Row = row
		if err != nil {
			stopped = s.badRecord(Bad(at, "%v", err))
			return stopped
		}
		for i, name := range names {
			s.rec.Fields[name] = fields[i]
		}
		s.rec.At = at
		stopped = s.emit()
		return stopped
	})
	if stopped != nil || err == nil {
		return stopped
	}
	return s.notParquet(err)
}

// notParquet is the error about a file that is damaged, or the disk's.
func (s *scan) notParquet(err error) error {
	if isDisk(err) {
		return reading(s.path, err)
	}
	return fatal{Bad(Place{Path: s.path}, "reading it as Parquet: %v", err)}
}

// randomAccess gives the file as it was opened, or what it expands to in memory.
func (s *scan) randomAccess() (io.ReaderAt, int64, error) {
	if f, ok := s.source.(sized); ok && s.compression == "" {
		return f, f.Size(), nil
	}
	b, err := io.ReadAll(io.LimitReader(s, maxHeld+1))
	switch {
	case err != nil:
		return nil, 0, s.failed(err)
	case len(b) > maxHeld:
		return nil, 0, fatal{Bad(Place{Path: s.path}, "a Parquet file of more than %d MiB cannot be read from a stream: its end comes first; decompress it, and give the file's name", maxHeld>>20)}
	}
	return bytes.NewReader(b), int64(len(b)), nil
}

// sized is a file of which any place can be read.
type sized interface {
	io.ReaderAt
	Size() int64
}
