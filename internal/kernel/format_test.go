package kernel_test

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"qtool/gguf"
	"qtool/internal/ggml"
	"qtool/internal/half"
	"qtool/internal/kernel"
	"qtool/quantize"
)

// decodedTypes are the types of weights that every tier with assembly decodes: all that
// have a codec but those that are used in place, or are no weights.
func decodedTypes() (all []gguf.Type) {
	for t := range ggml.All() {
		switch t {
		case ggml.F32, ggml.F64, ggml.I8, ggml.I16, ggml.I32:
			continue
		}
		if _, err := quantize.Lookup(t); err == nil {
			all = append(all, t)
		}
	}
	return all
}

// codecOf is the reference decoder of a type.
func codecOf(t testing.TB, typ gguf.Type) *quantize.Codec {
	t.Helper()
	c, err := quantize.Lookup(typ)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// scalesOf says where a block has its float16 scales: F16 is scale alone.
func scalesOf(typ gguf.Type) []int {
	if typ == gguf.F16 {
		return []int{0}
	}
	return slices.DeleteFunc(slices.Clone(ggml.TraitsOf(typ).Scales), func(at int) bool { return at == ggml.Scattered })
}

// specialScales are infinite, not numbers, subnormal, zero and the greatest.
var specialScales = []uint16{0x7c00, 0xfc00, 0x7e00, 0xfe01, 0x0001, 0x83ff, 0x0000, 0x8000, 0x7bff, 0xfbff}

// randomRows are blocks of random bits whose scales are small numbers, or, unless
// finite, any and some special ones.
func randomRows(rng *rand.Rand, typ gguf.Type, rows, cols int, finite bool) []byte {
	size, _ := typ.RowSize(cols)
	data := make([]byte, rows*int(size))
	for i := range data {
		data[i] = byte(rng.Uint32())
	}
	for i := range len(data) / typ.BlockBytes() {
		scale := func() uint16 {
			switch {
			case finite:
				return half.ToFloat16(float32(rng.NormFloat64()) / 64)
			case i%2 == 0:
				return specialScales[rng.IntN(len(specialScales))]
			}
			return uint16(rng.Uint32())
		}
		block := data[i*typ.BlockBytes():][:typ.BlockBytes()]
		for _, at := range scalesOf(typ) {
			binary.LittleEndian.PutUint16(block[at:], scale())
		}
		switch typ {
		case gguf.IQ1_M: // a quarter of the scale on top of each word
			d := scale()
			for w := range 4 {
				top := &block[49+2*w]
				*top = *top&15 | byte(d>>(4*w))<<4
			}
		case gguf.MXFP4: // 0 and 1 are subnormal
			if finite {
				block[0] = byte(120 + rng.IntN(8))
			} else if i < 3 {
				block[0] = [3]byte{0, 1, 255}[i]
			}
		case gguf.NVFP4: // 0x7f is not a number, below 8 is subnormal
			if !finite {
				binary.LittleEndian.PutUint32(block, 0x03020100+0x04040404*uint32(i+28))
			}
		case gguf.BF16:
			if finite {
				binary.LittleEndian.PutUint16(block, half.ToBFloat16(float32(rng.NormFloat64())))
			}
		}
	}
	return data
}

func TestEveryAssemblyTierDecodesEveryTypeOfWeights(t *testing.T) {
	for _, id := range decodedTypes() {
		m := kernel.EncodedMatrix(make([]byte, 2048), 1, 256, 256/id.BlockElements()*id.BlockBytes(), codecOf(t, id).DecodeRow).OfType(id)
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
		for _, typ := range decodedTypes() {
			t.Run(tier+"/"+typ.String(), func(t *testing.T) {
				undo, err := kernel.UseTier(tier)
				if err != nil {
					t.Fatal(err)
				}
				defer undo()
				for _, finite := range []bool{true, false} {
					checkDecoder(t, typ, finite, 1024)
					for cols := 32; cols <= 256; cols += 32 { // whole blocks of it
						checkDecoder(t, typ, finite, cols)
					}
					for cols := 512; cols < 3072; cols += 256 {
						checkDecoder(t, typ, finite, cols)
					}
				}
			})
		}
	}
}

func checkDecoder(t *testing.T, typ gguf.Type, finite bool, cols int) {
	t.Helper()
	rng := rand.New(rand.NewPCG(13, uint64(cols)))
	codec := codecOf(t, typ)
	if cols%typ.BlockElements() != 0 {
		return
	}
	const rows, guard = 3, 64
	offset := cols / 32 % 5 // of everything, to any alignment
	data := append(make([]byte, offset), randomRows(rng, typ, rows, cols, finite)...)[offset:]
	stride := len(data) / rows
	m := kernel.EncodedMatrix(data, rows, cols, stride, codec.DecodeRow).OfType(typ)
	buffer := make([]float32, cols+2*guard+8)
	for i := range buffer {
		buffer[i] = -12345
	}
	want := make([]float32, cols)
	for r := range rows {
		codec.DecodeRow(want, data[r*stride:(r+1)*stride])
		first := guard + offset + r%2
		got := m.Row(r, buffer[first:][:cols])
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
		if _, bf16 := kernel.HasDecoder(m); bf16 {
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
		for _, typ := range decodedTypes() {
			rng := rand.New(rand.NewPCG(19, 20))
			codec := codecOf(t, typ)
			const rows, cols = 67, 768
			data := randomRows(rng, typ, rows, cols, true)
			m := kernel.EncodedMatrix(data, rows, cols, len(data)/rows, codec.DecodeRow).OfType(typ)
			checkMatVec(t, rng, tier+"/"+typ.String(), m)
		}
		rng := rand.New(rand.NewPCG(21, 22))
		for _, cols := range []int{77, 16, 64, 1040} {
			checkMatVec(t, rng, tier+"/F32", kernel.Float32Matrix(normal(rng, 5*cols), 5, cols))
		}
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
	t.Helper()
	const guard = 64
	first := guard + r
	got := make([]uint16, len(want)+2*guard+8)
	for i := range got {
		got[i] = 0xdead
	}
	part := got[first : first+len(want)]
	middle := len(want) / 2 &^ 255
	kernel.PartBF16(m, part, r, 0, len(want))
	if middle > 0 {
		clear(part)
		kernel.PartBF16(m, part, r, 0, middle)
		kernel.PartBF16(m, part[middle:], r, middle, len(want))
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
