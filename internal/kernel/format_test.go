package kernel_test

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"qtool/gguf"
	"qtool/internal/half"
	"qtool/internal/kernel"
	"qtool/quantize"
)

// codecOf returns the type and the reference decoder of that name.
func codecOf(t testing.TB, name string) (gguf.Type, *quantize.Codec) {
	t.Helper()
	for id := gguf.Type(0); id < 64; id++ {
		if id.String() == name {
			c, err := quantize.Lookup(id)
			if err != nil {
				t.Fatal(err)
			}
			return id, c
		}
	}
	t.Fatalf("no type %s", name)
	return 0, nil
}

// randomRows are random bytes; where scales are finite, the float16 at each of
// the offsets of a block is small.
func randomRows(rng *rand.Rand, typ gguf.Type, rows, cols int, finite bool) []byte {
	size, _ := typ.RowSize(cols)
	data := make([]byte, rows*int(size))
	for i := range data {
		data[i] = byte(rng.Uint32())
	}
	if !finite {
		switch typ {
		case gguf.MXFP4: // the extreme powers
			data[0], data[17], data[34] = 0, 1, 255
		case gguf.NVFP4: // what is not a number, and what is subnormal
			for i := range len(data) / 36 {
				binary.LittleEndian.PutUint32(data[36*i:], 0x03020100+0x04040404*uint32(i+28))
			}
		}
		return data
	}
	type layout struct {
		bytes  int
		scales []int
	}
	l := map[string]layout{
		"F16": {2, []int{0}}, "BF16": {2, nil}, "Q4_0": {18, []int{0}}, "Q4_1": {20, []int{0, 2}}, "Q5_0": {22, []int{0}},
		"Q5_1": {24, []int{0, 2}}, "Q8_0": {34, []int{0}}, "Q4_K": {144, []int{0, 2}}, "Q5_K": {176, []int{0, 2}}, "Q6_K": {210, []int{208}},
		"IQ4_NL": {18, []int{0}}, "IQ4_XS": {136, []int{0}}, "MXFP4": {17, nil}, "Q2_K": {84, []int{80, 82}}, "Q3_K": {110, []int{108}},
		"Q1_0": {18, []int{0}}, "Q2_0": {18, []int{0}}, "TQ1_0": {54, []int{52}}, "TQ2_0": {66, []int{64}}, "NVFP4": {36, nil},
		"IQ1_S": {50, []int{0}}, "IQ1_M": {56, nil}, "IQ2_XXS": {66, []int{0}}, "IQ2_XS": {74, []int{0}}, "IQ2_S": {82, []int{0}},
		"IQ3_XXS": {98, []int{0}}, "IQ3_S": {110, []int{0}},
	}[typ.String()]
	for b := 0; b < len(data); b += l.bytes {
		for _, at := range l.scales {
			binary.LittleEndian.PutUint16(data[b+at:], half.ToFloat16(float32(rng.NormFloat64())/64))
		}
	}
	if typ.String() == "IQ1_M" { // a quarter of the scale on top of each word
		for b := 0; b < len(data); b += l.bytes {
			d := half.ToFloat16(float32(rng.NormFloat64()) / 64)
			for w := range 4 {
				top := &data[b+49+2*w]
				*top = *top&15 | byte(d>>(4*w))<<4
			}
		}
	}
	if typ.String() == "MXFP4" {
		for b := 0; b < len(data); b += l.bytes {
			data[b] = byte(120 + rng.IntN(8))
		}
	}
	if typ.String() == "BF16" {
		for i := 0; i < len(data); i += 2 {
			binary.LittleEndian.PutUint16(data[i:], half.ToBFloat16(float32(rng.NormFloat64())))
		}
	}
	return data
}

func TestEveryAssemblyTierDecodesEveryTypeOfWeights(t *testing.T) {
	for id := gguf.Type(0); id < 64; id++ {
		switch id {
		case gguf.F32, gguf.F64, gguf.I8, gguf.I16, gguf.I32: // used in place, or no weights
			continue
		}
		codec, err := quantize.Lookup(id)
		if err != nil {
			continue
		}
		if !slices.Contains(kernel.Formats(), id.String()) {
			t.Errorf("no tier knows the type %v", id)
			continue
		}
		m := kernel.EncodedMatrix(make([]byte, 2048), 1, 256, 256/id.BlockElements()*id.BlockBytes(), codec.DecodeRow).OfType(id.String())
		for _, tier := range kernel.Tiers() {
			undo, err := kernel.UseTier(tier)
			if err != nil {
				t.Fatal(err)
			}
			if float32, bf16 := kernel.HasDecoder(m); float32 != (tier != "go") || bf16 != (tier == "avx512bf16") {
				t.Errorf("%s decodes %v to float32: %v, to bfloat16: %v", tier, id, float32, bf16)
			}
			undo()
		}
	}
}

func TestDecodersGiveTheBitsOfPackageQuantize(t *testing.T) {
	for _, tier := range kernel.Tiers() {
		for _, name := range kernel.Formats() {
			t.Run(tier+"/"+name, func(t *testing.T) {
				undo, err := kernel.UseTier(tier)
				if err != nil {
					t.Fatal(err)
				}
				defer undo()
				for _, finite := range []bool{true, false} {
					checkDecoder(t, name, finite)
				}
			})
		}
	}
}

func checkDecoder(t *testing.T, name string, finite bool) {
	rng := rand.New(rand.NewPCG(13, 14))
	typ, codec := codecOf(t, name)
	const rows, cols, guard = 3, 1024, 64
	data := randomRows(rng, typ, rows, cols, finite)
	stride := len(data) / rows
	m := kernel.EncodedMatrix(data, rows, cols, stride, codec.DecodeRow).OfType(name)
	buffer := make([]float32, cols+2*guard+1)
	for i := range buffer {
		buffer[i] = -12345
	}
	want := make([]float32, cols)
	for r := range rows {
		codec.DecodeRow(want, data[r*stride:(r+1)*stride])
		got := m.Row(r, buffer[guard+r%2:][:cols])
		for i, w := range want {
			if math.Float32bits(got[i]) != math.Float32bits(w) && (w == w || got[i] == got[i]) {
				t.Fatalf("row %d: element %d is %g, want %g", r, i, got[i], w)
			}
		}
		for i, v := range buffer {
			if (i < guard || i >= guard+cols+1) && v != -12345 {
				t.Fatalf("element %d outside of the row was overwritten", i-guard)
			}
		}
		if _, bf16 := kernel.HasDecoder(m); bf16 && finite {
			checkBF16Row(t, m, r, want)
		}
	}
}

func TestMatVecIsTheProductWithDecodedRows(t *testing.T) {
	for _, tier := range kernel.Tiers() {
		undo, err := kernel.UseTier(tier)
		if err != nil {
			t.Fatal(err)
		}
		defer undo()
		for _, name := range kernel.Formats() {
			rng := rand.New(rand.NewPCG(19, 20))
			typ, codec := codecOf(t, name)
			const rows, cols = 67, 768
			data := randomRows(rng, typ, rows, cols, true)
			m := kernel.EncodedMatrix(data, rows, cols, len(data)/rows, codec.DecodeRow).OfType(name)
			checkMatVec(t, rng, tier+"/"+name, m)
		}
		rng := rand.New(rand.NewPCG(21, 22))
		v := make([]float32, 5*77)
		for i := range v {
			v[i] = float32(rng.NormFloat64())
		}
		checkMatVec(t, rng, tier+"/F32", kernel.Float32Matrix(v, 5, 77))
	}
}

func checkMatVec(t *testing.T, rng *rand.Rand, name string, m kernel.Matrix) {
	t.Helper()
	x, scratch := make([]float32, m.Cols), make([]float32, m.Cols)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	var first []float32
	for _, workers := range []int{1, 3} {
		p := kernel.NewPool(workers)
		defer p.Close()
		y := make([]float32, m.Rows+1)
		for i := range y {
			y[i] = 1
		}
		kernel.MatVec(p, y, x, m)
		for r := range m.Rows {
			sum, magnitude := 1.0, 1.0
			for i, w := range m.Row(r, scratch) {
				sum += float64(w) * float64(x[i])
				magnitude += math.Abs(float64(w) * float64(x[i]))
			}
			if math.Abs(float64(y[r])-sum) > 1e-5*magnitude {
				t.Fatalf("%s: y[%d] = %g, want %g", name, r, y[r], sum)
			}
		}
		if y[m.Rows] != 1 {
			t.Fatalf("%s: the element after y was overwritten", name)
		}
		if first != nil && !slices.Equal(first, y) {
			t.Fatalf("%s: the result depends on the number of workers", name)
		}
		first = y
	}
}

func checkBF16Row(t *testing.T, m kernel.Matrix, r int, want []float32) {
	got := make([]uint16, len(want)+2*64)
	for i := range got {
		got[i] = 0xdead
	}
	part := got[64 : 64+len(want)]
	kernel.PartBF16(m, part, r, 0, 256)
	kernel.PartBF16(m, part[256:], r, 256, len(want))
	for i, w := range want {
		rounded := half.ToBFloat16(w)
		if rounded&0x7f80 == 0 {
			rounded &= 0x8000 // the instruction takes subnormals for zero
		}
		if part[i] != rounded && part[i]&0x7fff|rounded&0x7fff != 0 {
			t.Fatalf("row %d: element %d is %#04x, want %#04x of %g", r, i, part[i], rounded, w)
		}
	}
	for i, v := range got {
		if (i < 64 || i >= 64+len(want)) && v != 0xdead {
			t.Fatalf("bf16 element %d outside of the row was overwritten", i-64)
		}
	}
}
