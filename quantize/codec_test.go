package quantize_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"
	"strings"
	"testing"

	"qtool/gguf"
	"qtool/internal/ggml"
	"qtool/internal/half"
	"qtool/quantize"
)

// block joins 16-bit floats and bytes to a block.
func block(parts ...any) (b []byte) {
	for _, p := range parts {
		switch v := p.(type) {
		case float64:
			b = binary.LittleEndian.AppendUint16(b, half.ToFloat16(float32(v)))
		case int:
			b = append(b, byte(v))
		case []byte:
			b = append(b, v...)
		}
	}
	return b
}

func repeat(b byte, n int) []byte { return bytes.Repeat([]byte{b}, n) }

// Blocks with a value or two that differ from the rest, worked out by hand from the
// layouts.
func TestBlocksDecodeAsTheirLayoutSays(t *testing.T) {
	for _, c := range []struct {
		typ  gguf.Type
		b    []byte
		want map[int]float32 // by position; -1 stands for all others
	}{
		{gguf.Q4_0, block(2.0, 0x8f, repeat(0x88, 15)), map[int]float32{0: 14, -1: 0}},
		{gguf.Q4_0, block(2.0, repeat(0x88, 15), 0x08), map[int]float32{31: -16, -1: 0}},
		{gguf.Q4_1, block(2.0, 1.0, 0x30, repeat(0, 15)), map[int]float32{16: 7, -1: 1}},
		{gguf.Q5_0, block(2.0, 0xfe, 0xff, 0xff, 0x7f, repeat(0, 16)), map[int]float32{0: -32, 31: -32, -1: 0}},
		{gguf.Q5_1, block(2.0, 1.0, 1, 0, 1, 0, 0x10, repeat(0, 15)), map[int]float32{0: 33, 16: 35, -1: 1}},
		{gguf.Q8_0, block(0.5, 0x80, 0x7f, repeat(0, 30)), map[int]float32{0: -64, 1: 63.5, -1: 0}},
		{gguf.Q1_0, block(3.0, 2, repeat(0, 15)), map[int]float32{1: 3, -1: -3}},
		{gguf.Q2_0, block(3.0, 0xe4, repeat(0x55, 15)), map[int]float32{0: -3, 2: 3, 3: 6, -1: 0}},
		{gguf.Q2_K, block(repeat(0, 2), 0x32, repeat(0, 13), 0x30, repeat(0, 63), 2.0, 1.0),
			// group 2 (values 32..47): scale 2, min 3; bits 2..3 of byte 0 hold 0, bits 4..5 belong to group 4
			func() map[int]float32 {
				m := map[int]float32{-1: 0}
				for i := 32; i < 48; i++ {
					m[i] = -3
				}
				return m
			}()},
		{gguf.Q4_K, block(2.0, 1.0, 3, repeat(0, 3), 1, repeat(0, 7), 0x05, repeat(0, 127)),
			func() map[int]float32 {
				m := map[int]float32{0: 29, -1: 0}
				for i := 1; i < 32; i++ {
					m[i] = -1
				}
				return m
			}()},
		{gguf.Q6_K, block(repeat(0, 127), 0xf0, repeat(0xaa, 63), 0xea, repeat(1, 15), 0xfe, 2.0),
			map[int]float32{255: -124, -1: 0}},
		{gguf.TQ2_0, block(0xe4, repeat(0x55, 63), 3.0), map[int]float32{0: -3, 64: 3, 96: 6, -1: 0}},
		{gguf.MXFP4, block(129, 0x7b, repeat(0, 15)), map[int]float32{0: -6, 16: 24, -1: 0}},
		{gguf.NVFP4, block(0x38, 0x40, 0, 0, 0x02, repeat(0, 8), 0xf0, repeat(0, 22)), map[int]float32{0: 1, 25: -12, -1: 0}},
		{gguf.IQ4_NL, block(2.0, 0x0f, repeat(0x88, 15)), map[int]float32{0: 226, 16: -254, -1: 2}},
	} {
		codec, err := quantize.Lookup(c.typ)
		if err != nil {
			t.Fatal(err)
		}
		got := make([]float32, c.typ.BlockElements())
		codec.DecodeRow(got, c.b)
		for i, v := range got {
			want, ok := c.want[i]
			if !ok {
				want = c.want[-1]
			}
			if v != want {
				t.Errorf("%v: value %d is %g, want %g", c.typ, i, v, want)
			}
		}
	}
}

// noise is a sequence of bytes that needs no library.
type noise uint32

func (n *noise) next() byte {
	*n = *n*1664525 + 1013904223
	return byte(*n >> 24)
}

// noisyRow has groups of very different scale, zeros and ties.
func noisyRow(columns int) []float32 {
	n := noise(7)
	x := make([]float32, columns)
	for i := range x {
		x[i] = float32(int8(n.next())) * float32(math.Ldexp(1, i/32%13-9))
		if i/32%5 == 3 && i%3 == 0 {
			x[i] = 0
		}
	}
	return x
}

// The sums were taken when all types gave the bytes and values of ggml's reference on
// millions of random blocks. Those of IQ1_S, IQ2_XXS and IQ2_XS without importance,
// which it refuses, are ours alone.
func TestCodecsGiveTheirRecordedSums(t *testing.T) {
	decoded := map[gguf.Type]uint32{}
	for _, codec := range everyCodec(func(*quantize.Codec) bool { return true }) {
		const values = 4096
		size, _ := codec.Type().RowSize(values)
		n := noise(codec.Type())
		src, dst := make([]byte, size), make([]float32, values)
		for i := range src {
			src[i] = n.next()
		}
		codec.DecodeRow(dst, src)
		for i, v := range dst {
			if v != v { // the payload of a NaN is nobody's promise
				dst[i] = float32(math.Inf(1))
			}
		}
		decoded[codec.Type()] = crc32.ChecksumIEEE(floatBytes(dst))
	}
	compareSums(t, "decoded", decoded, decodedSums)

	row := noisyRow(2048)
	for i := range row[:96] {
		row[i] *= 0x1p-138 // subnormal: scales underflow, their reciprocals are infinite
	}
	importance := make([]float32, len(row))
	for i := range importance {
		importance[i] = float32(i*i%17) / 4
	}
	plain, weighted := map[gguf.Type]uint32{}, map[gguf.Type]uint32{}
	for _, codec := range everyCodec((*quantize.Codec).CanEncode) {
		size, _ := codec.Type().RowSize(len(row))
		b := make([]byte, size)
		codec.EncodeRow(b, row, nil)
		plain[codec.Type()] = crc32.ChecksumIEEE(b)
		codec.EncodeRow(b, row, importance)
		weighted[codec.Type()] = crc32.ChecksumIEEE(b)
	}
	compareSums(t, "encoded", plain, encodedSums)
	compareSums(t, "encoded with importance", weighted, weightedSums)
}

func compareSums(t *testing.T, what string, got, want map[gguf.Type]uint32) {
	t.Helper()
	for typ, sum := range got {
		if sum != want[typ] {
			t.Errorf("%s %v: sum %#08x, recorded %#08x", what, typ, sum, want[typ])
		}
	}
	if len(got) != len(want) {
		t.Errorf("%s: %d types, %d recorded", what, len(got), len(want))
	}
}

func TestErrorsStayWithinHalfAStep(t *testing.T) {
	row := noisyRow(4096)
	for typ, levels := range map[gguf.Type]float64{
		gguf.Q8_0: 127, gguf.Q5_0: 16, gguf.Q4_0: 8, gguf.Q5_1: 15.5, gguf.Q4_1: 7.5,
	} {
		codec, _ := quantize.Lookup(typ)
		size, _ := typ.RowSize(len(row))
		b, got := make([]byte, size), make([]float32, len(row))
		codec.EncodeRow(b, row, nil)
		codec.DecodeRow(got, b)
		for i := 0; i < len(row); i += 32 {
			var reach float64
			for _, v := range row[i : i+32] {
				reach = max(reach, math.Abs(float64(v)))
			}
			// half a step of 2*reach/2n, the clipped top level, and the rounding of d
			bound := reach / levels * 0.5
			if typ == gguf.Q4_0 || typ == gguf.Q5_0 {
				bound *= 2
			}
			bound += reach / 1024
			for j, v := range row[i : i+32] {
				if e := math.Abs(float64(got[i+j] - v)); e > bound {
					t.Errorf("%v: %g became %g, off by %g with a bound of %g", typ, v, got[i+j], e, bound)
				}
			}
		}
	}
}

func TestZerosStayZeros(t *testing.T) {
	for _, codec := range everyCodec((*quantize.Codec).CanEncode) {
		size, _ := codec.Type().RowSize(512)
		for _, importance := range [][]float32{nil, make([]float32, 512)} {
			b, got := make([]byte, size), make([]float32, 512)
			codec.EncodeRow(b, make([]float32, 512), importance)
			codec.DecodeRow(got, b)
			for i, v := range got {
				if v != 0 {
					t.Fatalf("%v: zero %d became %g", codec.Type(), i, v)
				}
			}
		}
	}
}

func TestUnsupportedTypesAreRefusedByName(t *testing.T) {
	_, err := quantize.Lookup(gguf.Q8_1)
	if !errors.Is(err, quantize.ErrUnsupported) || !strings.Contains(err.Error(), "Q8_1") {
		t.Errorf("looking up Q8_1: %v", err)
	}
	_, err = quantize.LookupEncoder(gguf.F64)
	if !errors.Is(err, quantize.ErrUnsupported) || !strings.Contains(err.Error(), "F64") || !strings.Contains(err.Error(), "Q8_0") {
		t.Errorf("looking up the encoder of F64: %v", err)
	}
	if quantize.CanEncode(gguf.F64) || !quantize.CanEncode(gguf.IQ1_S) {
		t.Error("CanEncode does not agree with LookupEncoder")
	}
}

func FuzzDecodingNeverPanics(f *testing.F) {
	for t := range gguf.Type(64) {
		f.Add(uint32(t), repeat(0xff, 300))
	}
	f.Fuzz(func(t *testing.T, typ uint32, b []byte) {
		codec, err := quantize.Lookup(gguf.Type(typ))
		if err != nil {
			return
		}
		blocks := len(b) / codec.Type().BlockBytes()
		codec.DecodeRow(make([]float32, blocks*codec.Type().BlockElements()), b[:blocks*codec.Type().BlockBytes()])
	})
}

func TestEveryTypeOfWeightsHasACodec(t *testing.T) {
	for typ := range ggml.All() {
		switch typ {
		case ggml.Q8_1, ggml.Q8_K: // activations that llama.cpp multiplies with, never stored
			continue
		case ggml.I64: // no tensor of a model has them
			continue
		}
		if codec, err := quantize.Lookup(typ); err != nil {
			t.Errorf("%v: %v: the file of its codec must register it", typ, err)
		} else if typ.BlockElements() > 1 && !codec.CanEncode() {
			t.Errorf("%v cannot be encoded", typ)
		}
	}
}
