package parquet

import (
	"bytes"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/format"
)

// Limits of pages, decompressed. Pages of more than leastPage may be maxRatio times as
// large as they are in the file.
const (
	leastPage = 16 << 20
	maxPage   = 512 << 20
	maxRatio  = 200
	maxHeld   = 1 << 30   // of all columns
	maxWindow = 128 << 20 // of zstd
	// maxPageValues bounds the time that a page can take: equal values need no bytes.
	maxPageValues = 1 << 26
)

func checkCodec(codec format.CompressionCodec) error {
	switch codec {
	case format.Uncompressed, format.Snappy, format.Gzip, format.Zstd:
		return nil
	}
	return fmt.Errorf("it is compressed with %v; write the file with snappy, gzip or zstd", codec)
}

// decompress gives a page of exactly size bytes: b itself, or into buf.
func (c *column) decompress(buf *[]byte, b []byte, size int) ([]byte, error) {
	var r io.Reader
	switch c.codec {
	case format.Uncompressed:
		if len(b) != size {
			return nil, fmt.Errorf("it has %d bytes, expected %d", len(b), size)
		}
		return b, nil
	case format.Snappy:
		return c.unsnap(buf, b, size)
	case format.Gzip:
		z, err := gzip.NewReader(bytes.NewReader(b))
		if err != nil {
			return nil, fmt.Errorf("decompressing gzip: %w", err)
		}
		r = z
	case format.Zstd:
		z, err := c.file.zstd(b)
		if err != nil {
			return nil, err
		}
		r = z
	}
	out, err := readExactly(r, (*buf)[:0], size)
	*buf = out
	if err != nil {
		return nil, fmt.Errorf("decompressing %v: %w", c.codec, err)
	}
	return out, nil
}

func (c *column) unsnap(buf *[]byte, b []byte, size int) ([]byte, error) {
	const most = 32 // a copy of 64 bytes takes three
	n, err := snappy.DecodedLen(b)
	if err == nil && (n != size || n > most*len(b)) {
		err = fmt.Errorf("%d bytes that claim to be %d, expected %d", len(b), n, size)
	}
	if err == nil {
		_, err = snappy.Decode(c.room(buf, size), b)
	}
	if err != nil {
		return nil, fmt.Errorf("decompressing snappy: %w", err)
	}
	return (*buf)[:size], nil
}

// zstd reads b with the decoder that all columns share.
func (f *File) zstd(b []byte) (io.Reader, error) {
	if f.unzstd == nil {
		z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, err
		}
		f.unzstd = z
	}
	return f.unzstd, f.unzstd.Reset(bytes.NewReader(b))
}

// readExactly appends the size bytes that r has to buf, which grows with what comes.
func readExactly(r io.Reader, buf []byte, size int) ([]byte, error) {
	const first = 1 << 20
	for {
		if len(buf) == cap(buf) {
			next := make([]byte, len(buf), min(max(2*len(buf), min(size, first)), size)+1)
			copy(next, buf)
			buf = next
		}
		n, err := r.Read(buf[len(buf):min(cap(buf), size+1)])
		buf = buf[:len(buf)+n]
		switch {
		case len(buf) > size || err == io.EOF && len(buf) < size:
			return buf, fmt.Errorf("it does not give the %d bytes that its header says", size)
		case err == io.EOF:
			return buf, nil
		case err != nil:
			return buf, err
		}
	}
}
