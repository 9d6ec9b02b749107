// Package jsontext reads and writes JSON as records have it: objects by field, and strings.
package jsontext

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

// PlainLength is how many bytes b begins with that a string may hold as they are.
func PlainLength(b []byte) int {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	at := 0
	for ; at+8 <= len(b); at += 8 {
		w := binary.LittleEndian.Uint64(b[at:])
		quote, slash := w^ones*'"', w^ones*'\\'
		// The high bit of each byte: whether it is below 0x20, a quote, or a backslash. A
		// borrow can set it falsely only above a byte where it is rightly set.
		special := ((w-ones*0x20)&^w | (quote-ones)&^quote | (slash-ones)&^slash) & highs
		if special != 0 {
			return at + bits.TrailingZeros64(special)/8
		}
	}
	for ; at < len(b); at++ {
		if c := b[at]; c < 0x20 || c == '"' || c == '\\' {
			break
		}
	}
	return at
}

// AppendString appends text as a JSON string.
func AppendString(dst, text []byte) []byte {
	dst = append(dst, '"')
	for {
		n := PlainLength(text)
		dst = append(dst, text[:n]...)
		if n == len(text) {
			return append(dst, '"')
		}
		switch c := text[n]; c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = fmt.Appendf(dst, "\\u%04x", c)
		}
		text = text[n+1:]
	}
}
