package records

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"qtool/internal/input"
)

// Sizes of buffers, and of the window that a compressed file may ask for.
const (
	readAhead  = 256 << 10
	headLength = 64 << 10
	maxWindow  = 128 << 20 // zstd --long=27
)

// stream is an open file, decompressed.
type stream struct {
	path        string
	source      io.Reader // as it was opened
	read        counter   // of it
	expanded    *counter  // of what it gives
	compression string
	closer      func()
	*bufio.Reader
}

// counter counts what is read through it.
type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// open opens a path; name is how errors call it.
func (r *Reader) open(path string) (in io.ReadCloser, name string, err error) {
	if path == Stdin {
		if r.Stdin == nil {
			return nil, "", errors.New("there is no standard input to read the data from")
		}
		return io.NopCloser(r.Stdin), "standard input", nil
	}
	f, err := input.Open(path)
	if err != nil {
		return nil, "", fmt.Errorf("opening the data: %w", err)
	}
	return f, path, nil
}

// newStream looks at the first bytes of a file, and decompresses it if they say so.
func newStream(in io.Reader, path string) (*stream, error) {
	s := &stream{path: path, source: in, read: counter{r: in}, closer: func() {}}
	s.expanded = &s.read
	packed := bufio.NewReaderSize(&s.read, readAhead)
	head, err := packed.Peek(4)
	if err != nil && err != io.EOF {
		return nil, reading(path, err)
	}
	s.Reader = packed
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(packed)
		if err != nil {
			return nil, s.damaged("gzip", err)
		}
		s.expand("gzip", z, func() { z.Close() })
	case isZstd(head):
		z, err := zstd.NewReader(packed, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, s.damaged("zstd", err)
		}
		s.expand("zstd", z, z.Close)
	}
	return s, nil
}

// isZstd knows frames of zstd, and those it passes over.
func isZstd(head []byte) bool {
	return bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}) ||
		len(head) == 4 && head[0]&0xf0 == 0x50 && bytes.Equal(head[1:], []byte{0x2a, 0x4d, 0x18})
}

// expand continues with what z gives of the file.
func (s *stream) expand(name string, z io.Reader, closer func()) {
	s.compression, s.closer = name, closer
	s.expanded = &counter{r: &expander{s, z}}
	s.Reader = bufio.NewReaderSize(s.expanded, readAhead)
}

// expander says which file is damaged.
type expander struct {
	s *stream
	z io.Reader
}

func (e *expander) Read(p []byte) (int, error) {
	n, err := e.z.Read(p)
	if err != nil && err != io.EOF {
		err = e.s.damaged(e.s.compression, err)
	}
	return n, err
}

// damaged is the error about a compressed file; what the disk reports stays what it is.
func (s *stream) damaged(compression string, err error) error {
	at := Place{Path: s.path}
	switch {
	case isDisk(err):
		return reading(s.path, err)
	case errors.Is(err, io.ErrUnexpectedEOF) || err == io.EOF:
		return fatal{Bad(at, "the %s data end in the middle: the file is cut short; download or copy it again", compression)}
	case errors.Is(err, zstd.ErrWindowSizeExceeded) || errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return fatal{Bad(at, "its zstd data need a window of more than %d MiB in memory; compress it again without --ultra and --long", maxWindow>>20)}
	}
	return fatal{Bad(at, "the %s data are damaged after %d bytes: %v; download or copy the file again", compression, s.read.n, err)}
}

// isDisk is whether an error is of the operating system, not of what a file holds.
func isDisk(err error) bool {
	var disk *fs.PathError
	return errors.As(err, &disk)
}

// failed is the error of reading on: that of the stream itself if it has a kind.
func (s *stream) failed(err error) error {
	if errors.Is(err, ErrFormat) {
		return err
	}
	return reading(s.path, err)
}

func (s *stream) close() {
	s.closer()
	s.closer = func() {}
}
