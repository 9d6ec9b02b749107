package gguf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"testing"
)

// The blocks are written out field by field as ggml's structs have them.
func TestBigEndianBlocksBecomeLittleEndian(t *testing.T) {
	block := func(order binary.ByteOrder, parts ...any) []byte {
		var b bytes.Buffer
		for _, p := range parts {
			if err := binary.Write(&b, order, p); err != nil {
				t.Fatal(err)
			}
		}
		return b.Bytes()
	}
	seq := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(i * 7)
		}
		return b
	}
	words := func(n int) []uint16 {
		w := make([]uint16, n)
		for i := range w {
			w[i] = uint16(i*0x1357 + 0x0102)
		}
		return w
	}
	half := uint16(0x3c01)
	for typ, parts := range map[Type][]any{
		F64:     {1.5},
		I64:     {int64(0x0102030405060708)},
		BF16:    {half},
		I8:      {int8(5)},
		Q4_1:    {half, uint16(0x1234), seq(16)},
		Q5_0:    {half, uint32(0x01020304), seq(16)},
		Q5_1:    {half, half, uint32(0x01020304), seq(16)},
		Q2_K:    {seq(16), seq(64), half, uint16(0x1234)},
		Q3_K:    {seq(32), seq(64), seq(12), half},
		Q5_K:    {half, uint16(0x1234), seq(12), seq(32), seq(128)},
		Q6_K:    {seq(128), seq(64), seq(16), half},
		Q8_K:    {float32(1.5), seq(256), words(16)},
		IQ1_S:   {half, seq(32), words(8)},
		IQ1_M:   {seq(32), seq(16), words(4)},
		IQ2_XS:  {half, words(32), seq(8)},
		IQ3_XXS: {half, seq(64), []uint32{1, 2, 3, 4, 5, 6, 7, 8}},
		IQ4_XS:  {half, uint16(0x1234), seq(4), seq(128)},
		TQ1_0:   {seq(48), seq(4), half},
		MXFP4:   {seq(17)},
	} {
		little := slices.Repeat(block(binary.LittleEndian, parts...), 3)
		big := slices.Repeat(block(binary.BigEndian, parts...), 3)
		f := newForge(3, true).header(1, 0).tensor("t", typ, 0, uint64(3*typ.BlockElements())).align(32).raw(string(big))
		m, err := f.parse()
		if err != nil {
			t.Fatal(err)
		}
		if got := dataOf(t, mustFind(t, m, "t")); !bytes.Equal(got, little) {
			t.Errorf("%s: got %x, want %x", typ, got, little)
		}
	}
}

func TestBigEndianDataOfUnknownLayoutIsUnsupportedAlone(t *testing.T) {
	f := newForge(3, true).header(2, 0).tensor("strange", 99, 0, 8).tensor("plain", F32, 32, 1).align(32).zeros(32).put(float32(2))
	m, err := f.parse()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := mustFind(t, m, "strange").Bytes(); !errors.Is(err, ErrUnsupported) {
		t.Error(err)
	}
	if got := dataOf(t, mustFind(t, m, "plain")); !bytes.Equal(got, []byte{0, 0, 0, 0x40}) {
		t.Errorf("%x", got)
	}
}
