package coding_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"qtool/gguf"
	"qtool/internal/half"
	"qtool/internal/kernel/coding"
	"qtool/internal/kernel/kerneltest"
	"qtool/internal/kernel/simd"
	"qtool/quantize"
)

// codecOf is the reference decoder of a type.
func codecOf(t testing.TB, typ gguf.Type) *quantize.Codec {
	t.Helper()
	c, err := quantize.Lookup(typ)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestEveryAssemblyTierDecodesEveryTypeOfWeights(t *testing.T) {
	for _, id := range kerneltest.DecodedTypes() {
		codecOf(t, id)
		for _, tier := range simd.Available() {
			d := coding.Decoders(tier)[id]
			float32, bf16, dot := d.Float32 != nil, d.BF16 != nil, d.Dot != nil
			if float32 != (tier != simd.Go) || dot != float32 || bf16 != (tier == simd.AVX512BF16) {
				t.Errorf("%v decodes %v to float32: %v, to bfloat16: %v, multiplies with it: %v", tier, id, float32, bf16, dot)
			}
		}
	}
}

func TestDecodersGiveTheBitsOfPackageQuantize(t *testing.T) {
	for _, tier := range simd.Available() {
		for _, typ := range kerneltest.DecodedTypes() {
			d := &coding.Decoders(tier)[typ]
			if d.Float32 == nil {
				continue
			}
			t.Run(tier.String()+"/"+typ.String(), func(t *testing.T) {
				for _, finite := range []bool{true, false} {
					checkDecoder(t, d, typ, finite, 1024)
					for cols := 32; cols <= 256; cols += 32 { // whole blocks of it
						checkDecoder(t, d, typ, finite, cols)
					}
					for cols := 512; cols < 3072; cols += 256 {
						checkDecoder(t, d, typ, finite, cols)
					}
				}
			})
		}
	}
}

func checkDecoder(t *testing.T, d *coding.Decoder, typ gguf.Type, finite bool, cols int) {
	t.Helper()
	rng := rand.New(rand.NewPCG(13, uint64(cols)))
	codec := codecOf(t, typ)
	if cols%d.Elements != 0 {
		return
	}
	const rows, guard = 3, 64
	offset := cols / 32 % 5 // of everything, to any alignment
	data := append(make([]byte, offset), kerneltest.Rows(rng, typ, rows, cols, finite)...)[offset:]
	stride := len(data) / rows
	buffer := make([]float32, cols+2*guard+8)
	for i := range buffer {
		buffer[i] = -12345
	}
	want := make([]float32, cols)
	for r := range rows {
		codec.DecodeRow(want, data[r*stride:(r+1)*stride])
		first := guard + offset + r%2
		got := buffer[first:][:cols]
		d.Float32(&got[0], &data[r*stride], cols/d.Elements, 1, 0, 0)
		for i, w := range want {
			if math.Float32bits(got[i]) != math.Float32bits(w) && (w == w || got[i] == got[i]) {
				t.Fatalf("%d columns, row %d: element %d is %g, want %g", cols, r, i, got[i], w)
			}
		}
		for i, v := range buffer {
			if (i < first || i >= first+cols) && v != -12345 {
				t.Fatalf("%d columns: element %d outside of the row was overwritten", cols, i-first)
			}
		}
		for i := range got {
			got[i] = -12345
		}
		if d.BF16 != nil {
			checkBF16Row(t, d, data[r*stride:][:stride], r, want)
		}
	}
}

func checkBF16Row(t *testing.T, d *coding.Decoder, row []byte, r int, want []float32) {
	t.Helper()
	const guard = 64
	first := guard + r
	got := make([]uint16, len(want)+2*guard+8)
	for i := range got {
		got[i] = 0xdead
	}
	part := got[first : first+len(want)]
	middle := len(want) / 2 &^ 255
	decode := func(from, to int) {
		d.BF16(&part[from], &row[from*len(row)/len(want)], (to-from)/d.Elements, 1, 0, 0)
	}
	decode(0, len(want))
	if middle > 0 {
		clear(part)
		decode(0, middle)
		decode(middle, len(want))
	}
	for i, w := range want {
		rounded := half.ToBFloat16(w)
		if rounded&0x7f80 == 0 && part[i] != rounded {
			rounded &= 0x8000 // rounding may take subnormals for zero, as multiplying does
		}
		nan := w != w && part[i]&0x7fff > 0x7f80
		if part[i] != rounded && part[i]&0x7fff|rounded&0x7fff != 0 && !nan {
			t.Fatalf("row %d: element %d is %#04x, want %#04x of %g", r, i, part[i], rounded, w)
		}
	}
	for i, v := range got {
		if (i < first || i >= first+len(want)) && v != 0xdead {
			t.Fatalf("bf16 element %d outside of the row was overwritten", i-first)
		}
	}
}
