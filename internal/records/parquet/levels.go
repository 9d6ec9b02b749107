package parquet

import (
	"encoding/binary"
	"errors"
)

var errLevels = errors.New("a run of levels or indices ends too early")

// hybrid gives the numbers of Parquet's hybrid of run lengths and bit packing, one after
// another: runs are a header, then
//
//	header = count<<1       one number of whole bytes, count times
//	header = groups<<1 | 1  groups of 8 numbers of width bits, the lowest bit first
type hybrid struct {
	b      []byte
	width  int
	left   uint64 // numbers of the run that were not given yet
	packed bool
	value  uint32 // of a run that is not packed
	bits   []byte // of one that is
	bit    int    // where the next number begins in bits
}

func (h *hybrid) next() (uint32, error) {
	for h.left == 0 {
		if err := h.run(); err != nil {
			return 0, err
		}
	}
	h.left--
	if !h.packed {
		return h.value, nil
	}
	v := bitsAt(h.bits, h.bit, h.width)
	h.bit += h.width
	return uint32(v), nil
}

// run begins the next run.
func (h *hybrid) run() error {
	head, n := binary.Uvarint(h.b)
	if n <= 0 {
		return errLevels
	}
	h.b = h.b[n:]
	h.packed = head&1 == 1
	if h.packed {
		groups := head >> 1
		if h.width > 0 && groups > uint64(len(h.b)/h.width) {
			// The last run may leave out bytes that hold nothing.
			groups = uint64((len(h.b) + h.width - 1) / h.width)
		}
		n := min(len(h.b), int(groups)*h.width)
		h.bits, h.b, h.bit = h.b[:n], h.b[n:], 0
		h.left = groups * 8
		if h.width > 0 {
			h.left = min(h.left, uint64(n)*8/uint64(h.width))
		}
		return nil
	}
	size := (h.width + 7) / 8
	if len(h.b) < size {
		return errLevels
	}
	h.value = 0
	for i, c := range h.b[:size] {
		h.value |= uint32(c) << (8 * i)
	}
	h.b, h.left = h.b[size:], head>>1
	return nil
}

// bitsAt is the number of width bits, 64 at most, that begins at a bit of b; what lies
// after b is zero.
func bitsAt(b []byte, bit, width int) uint64 {
	if width == 0 {
		return 0
	}
	at, shift := bit/8, bit%8
	var low uint64
	if at+8 <= len(b) {
		low = binary.LittleEndian.Uint64(b[at:])
	} else {
		for i := at; i < len(b); i++ {
			low |= uint64(b[i]) << (8 * (i - at))
		}
	}
	low >>= shift
	if shift+width > 64 && at+8 < len(b) {
		low |= uint64(b[at+8]) << (64 - shift)
	}
	if width == 64 {
		return low
	}
	return low & (1<<width - 1)
}
