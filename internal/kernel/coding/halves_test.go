package coding_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"qtool/gguf"
	"qtool/internal/half"
	"qtool/internal/kernel/coding"
	"qtool/internal/kernel/simd"
	"qtool/quantize"
)

// The formats that float16 elements are encoded to without a way by float32.
var halfFormats = []gguf.Type{
	gguf.F16, gguf.BF16, gguf.Q4_0, gguf.Q4_1, gguf.Q5_0, gguf.Q5_1, gguf.Q8_0,
	gguf.Q1_0, gguf.Q2_0, gguf.TQ1_0, gguf.TQ2_0,
}

// finiteHalves are n float16 elements of one of several kinds.
func finiteHalves(r *rand.Rand, kind, n int) []byte {
	b := make([]byte, 2*n)
	for i := range n {
		var h uint16
		switch kind {
		case 0:
			h = half.ToFloat16(float32(r.NormFloat64() * 0.02))
		case 1: // any bits, also subnormal ones
			for h = uint16(r.Uint32()); h&0x7c00 == 0x7c00; h = uint16(r.Uint32()) {
			}
		case 2: // ties of magnitude, few levels, halves
			h = half.ToFloat16(float32(r.IntN(9)-4) / 2)
		case 3: // zeros of both signs, and little else
			h = uint16(r.IntN(2)) << 15
			if r.IntN(40) == 0 {
				h = uint16(r.Uint32()) & 0xbfff
			}
		case 4: // one sign
			h = half.ToFloat16(float32(1+r.IntN(3)+i/32) * float32(1-2*(i/64%2)))
		case 5: // nearly constant, from block to block of other sign
			h = 0x3c00 + uint16(r.IntN(2)) + uint16(i/32%2)<<15
		case 6: // subnormal
			h = uint16(r.IntN(4)) + uint16(r.IntN(2))<<15
		case 7: // the largest
			h = 0x7bff - uint16(r.IntN(3)) + uint16(r.IntN(2))<<15
		}
		binary.LittleEndian.PutUint16(b[2*i:], h)
	}
	return b
}

// stored16 is a way in which elements of 16 bits are stored, and what encodes them.
type stored16 struct {
	typ     gguf.Type
	float   func(uint16) float32
	formats []gguf.Type
	encode  func(to gguf.Type, dst, src []byte) (fit, ok bool)
}

var storedHalves = stored16{gguf.F16, half.FromFloat16, halfFormats, coding.EncodeHalves}

var storedBFloats = stored16{gguf.BF16, half.FromBFloat16,
	[]gguf.Type{gguf.BF16, gguf.F16, gguf.Q4_0, gguf.Q4_1, gguf.Q5_0, gguf.Q5_1, gguf.Q8_0},
	func(to gguf.Type, dst, src []byte) (fit, ok bool) {
		largest, ok := coding.EncodeBFloats(to, dst, src)
		return largest < 1<<15, ok
	},
}

// bfloats are n bfloat16 elements below 2^15 of one of several kinds.
func bfloats(r *rand.Rand, kind, n int) []byte {
	b := make([]byte, 2*n)
	for i := range n {
		var h uint16
		sign := uint16(r.IntN(2)) << 15
		switch kind {
		case 0:
			h = half.ToBFloat16(float32(r.NormFloat64() * 0.02))
		case 1: // any bits, also subnormal ones
			h = uint16(r.IntN(0x4700)) | sign
		case 2: // ties of magnitude, few levels, halves
			h = half.ToBFloat16(float32(r.IntN(9)-4) / 2)
		case 3: // zeros of both signs, and little else
			h = sign
			if r.IntN(40) == 0 {
				h |= uint16(r.IntN(0x4000))
			}
		case 4: // one sign
			h = half.ToBFloat16(float32(1+r.IntN(3)+i/32) * float32(1-2*(i/64%2)))
		case 5: // nearly constant, from block to block of other sign
			h = 0x3f80 + uint16(r.IntN(2)) + uint16(i/32%2)<<15
		case 6: // subnormal, so that scales have no inverse
			h = uint16(r.IntN(4)) | sign
		case 7: // the largest
			h = 0x46ff - uint16(r.IntN(3)) | sign
		case 8: // scales around those whose inverse is infinite, from block to block
			h = uint16(r.IntN(3)<<5+i/32%40<<5) + uint16(r.IntN(32)) | sign
		case 9: // scales around those that are no float16
			h = uint16(0x3000+i/32%64<<5+r.IntN(32)) | sign
		}
		binary.LittleEndian.PutUint16(b[2*i:], h)
	}
	return b
}

func TestHalvesAreEncodedAsTheirFloatsAreAndNothingBeyond(t *testing.T) {
	testStored(t, storedHalves, finiteHalves, 8)
}

func TestBFloatsAreEncodedAsTheirFloatsAreAndNothingBeyond(t *testing.T) {
	testStored(t, storedBFloats, bfloats, 10)
}

func testStored(t *testing.T, s stored16, elements func(r *rand.Rand, kind, n int) []byte, kinds int) {
	t.Helper()
	rng := rand.New(rand.NewPCG(31, 32))
	for _, typ := range s.formats {
		codec, err := quantize.LookupEncoder(typ)
		if err != nil {
			t.Fatal(err)
		}
		for kind := range kinds {
			for _, blocks := range []int{1, 2, 15, 16, 17, 35, 64} {
				src := elements(rng, kind, max(32, typ.BlockElements())*blocks)
				compareStored(t, s, codec, src, fmt.Sprintf("kind %d, %d blocks", kind, blocks))
			}
		}
	}
}

// compareStored encodes elements on every tier, and their floats in Go.
func compareStored(t *testing.T, s stored16, codec *quantize.Codec, src []byte, what string) {
	t.Helper()
	typ := codec.Type()
	size, err := typ.RowSize(len(src) / 2)
	if err != nil {
		t.Fatal(err)
	}
	want := bytes.Repeat([]byte{0xa5}, int(size)+64)
	x := make([]float32, len(src)/2)
	for i := range x {
		x[i] = s.float(binary.LittleEndian.Uint16(src[2*i:]))
	}
	undo, _ := simd.Use("go")
	codec.EncodeRow(want[:size], x, nil)
	undo()
	onEveryTier(t, func(tier string) {
		got := bytes.Repeat([]byte{0xa5}, int(size)+64)
		fit, ok := s.encode(typ, got[:size], src)
		if tier == "go" || tier == "neon" {
			if ok {
				t.Error("encodes halves by itself: compare it")
			}
			return
		}
		if typ == s.typ {
			copy(got, src)
		}
		if !fit || !ok || !bytes.Equal(got, want) {
			t.Fatalf("%v to %v, %s, tier %s: fit %v, ok %v, the bytes differ: %v", s.typ, typ, what, tier, fit, ok, !bytes.Equal(got, want))
		}
	})
}

// Half of the scale is where three levels begin, and rounding decides.
func TestHalvesNearHalfOfAnyScaleAreEncodedAsTheirFloatsAre(t *testing.T) {
	for _, typ := range []gguf.Type{gguf.Q2_0, gguf.TQ1_0, gguf.TQ2_0} {
		codec, err := quantize.LookupEncoder(typ)
		if err != nil {
			t.Fatal(err)
		}
		const blocks = 0x400 // scales of one exponent
		n := typ.BlockElements()
		src := make([]byte, 2*n*blocks)
		for first := 0; first < 0x7c00; first += blocks {
			for b := range blocks {
				scale := uint16(first + b)
				middle := half.ToFloat16(half.FromFloat16(scale) / 2)
				for i := range n {
					near := max(0, int(middle)+i/2%5-2)
					if i == b%n {
						near = int(scale)
					}
					h := min(scale, uint16(near)) | uint16(i%2)<<15
					binary.LittleEndian.PutUint16(src[2*(b*n+i):], h)
				}
			}
			compareStored(t, storedHalves, codec, src, fmt.Sprintf("scales from %#04x on", first))
		}
	}
}

func TestAHalfThatIsNotFiniteIsFoundWhereverItIs(t *testing.T) {
	testUnfit(t, storedHalves, finiteHalves, []uint16{0x7c00, 0xfc00, 0x7e00, 0xffff})
}

func TestABFloatThatIsTooLargeIsFoundWhereverItIs(t *testing.T) {
	testUnfit(t, storedBFloats, bfloats, []uint16{0x7f80, 0xff80, 0x7fc0, 0xffff, 0x4700, 0xc700})
}

// testUnfit puts each of unfit in the place of each element.
func testUnfit(t *testing.T, s stored16, elements func(r *rand.Rand, kind, n int) []byte, unfit []uint16) {
	t.Helper()
	rng := rand.New(rand.NewPCG(33, 34))
	for _, typ := range s.formats {
		const blocks = 35
		n := max(32, typ.BlockElements()) * blocks
		src := elements(rng, 1, n)
		size, _ := typ.RowSize(n)
		dst := make([]byte, size)
		onEveryTier(t, func(tier string) {
			for i := range n {
				before := binary.LittleEndian.Uint16(src[2*i:])
				binary.LittleEndian.PutUint16(src[2*i:], unfit[i%len(unfit)])
				if fit, ok := s.encode(typ, dst, src); ok && fit {
					t.Fatalf("%v to %v, tier %s: element %d was not noticed", s.typ, typ, tier, i)
				}
				binary.LittleEndian.PutUint16(src[2*i:], before)
			}
		})
	}
}

func TestHalvesInPartsOfBlocksAreLeftToOthers(t *testing.T) {
	for _, n := range []int{0, 1, 15, 31, 33, 48} {
		if _, ok := coding.EncodeHalves(gguf.Q4_0, make([]byte, 36), make([]byte, 2*n)); ok {
			t.Errorf("%d elements were taken for blocks of 32", n)
		}
	}
}

func onEveryTier(t *testing.T, f func(tier string)) {
	t.Helper()
	for _, tier := range simd.Names() {
		undo, err := simd.Use(tier)
		if err != nil {
			t.Fatal(err)
		}
		f(tier)
		undo()
	}
}
