package convert

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"qtool/gguf"
	"qtool/safetensors"
)

func TestEightBitFloatsHaveTheirValues(t *testing.T) {
	for b, want := range map[byte]float32{
		0x00: 0, 0x01: 1. / 512, 0x07: 7. / 512, 0x08: 1. / 64, 0x38: 1, 0x39: 1.125, 0xb8: -1, 0x7e: 448, 0xfe: -448,
	} {
		if e4m3[b] != want {
			t.Errorf("E4M3 %#02x is %g, want %g", b, e4m3[b], want)
		}
	}
	for b, want := range map[byte]float32{
		0x01: 1. / 65536, 0x04: 1. / 16384, 0x3c: 1, 0x3d: 1.25, 0xbc: -1, 0x7b: 57344, 0x7c: float32(math.Inf(1)),
	} {
		if e5m2[b] != want {
			t.Errorf("E5M2 %#02x is %g, want %g", b, e5m2[b], want)
		}
	}
	if v := e4m3[0x7f]; v == v {
		t.Errorf("E4M3 0x7f is %g, want no number", v)
	}
	if fromE8M0(127) != 1 || fromE8M0(130) != 8 || fromE8M0(0) != 0x1p-127 {
		t.Error("E8M0 is no power of two")
	}
}

// scaledWeight makes a tensor 8-bit, with scales of a shape, and returns the products.
func (f *folder) scaledWeight(t *testing.T, name, scaleName string, blockRows, blockColumns int, scaleType safetensors.DType, scaleShape ...int) []float32 {
	t.Helper()
	i := slices.IndexFunc(f.tensors, func(t *safetensors.Tensor) bool { return t.Name == name })
	old := f.tensors[i]
	rows, columns := old.Shape[0], old.Shape[1]
	raw := make([]byte, rows*columns)
	for i := range raw {
		raw[i] = byte(f.rng.IntN(0x7f)) | byte(f.rng.IntN(2))<<7 // 0x7f is no number
	}
	f.tensors[i] = &safetensors.Tensor{Name: name, DType: safetensors.F8_E4M3, Shape: old.Shape, Data: gguf.Memory(raw)}
	scale := make([]float32, elements(scaleShape))
	for i := range scale {
		scale[i] = float32(i%5+1) / 4
		if scaleType == safetensors.F8_E8M0 {
			scale[i] = float32(int(1) << (i % 5))
		}
	}
	encoded := encode(scaleType, scale)
	if scaleType == safetensors.F8_E8M0 {
		encoded = nil
		for _, v := range scale {
			encoded = append(encoded, byte(math.Float32bits(v)>>23))
		}
	}
	f.tensors = append(f.tensors, &safetensors.Tensor{Name: scaleName, DType: scaleType, Shape: scaleShape, Data: gguf.Memory(encoded)})
	products := make([]float32, rows*columns)
	for i, b := range raw {
		block := i/columns/blockRows*ceil(columns, blockColumns) + i%columns/blockColumns
		products[i] = e4m3[b] * scale[block]
	}
	return products
}

func TestEightBitWeightsAreMultipliedByTheirScales(t *testing.T) {
	const down, out = "model.layers.1.mlp.down_proj.weight", "blk.1.ffn_down.weight" // 16 rows of 10
	fp8 := map[string]any{"quant_method": "fp8", "weight_block_size": []int{3, 4}}
	for name, c := range map[string]struct {
		config     map[string]any
		scaleName  string
		rows, cols int
		typ        safetensors.DType
		shape      []int
	}{
		"blocks, the last ones cut": {fp8, down + "_scale_inv", 3, 4, safetensors.F32, []int{6, 3}},
		"blocks of powers of two":   {fp8, down + "_scale_inv", 3, 4, safetensors.F8_E8M0, []int{6, 3}},
		"blocks of compressed-tensors": {map[string]any{"quant_method": "compressed-tensors", "format": "float-quantized", "config_groups": map[string]any{
			"group_0": map[string]any{"weights": map[string]any{"num_bits": 8, "block_structure": []int{3, 4}}}}},
			down + "_scale", 3, 4, safetensors.BF16, []int{6, 3}},
		"one for each row":   {map[string]any{"quant_method": "fbgemm_fp8"}, down + "_scale", 1, testFF, safetensors.F32, []int{testEmbed, 1}},
		"a vector of rows":   {nil, down + "_scale", 1, testFF, safetensors.F16, []int{testEmbed}},
		"one for the tensor": {map[string]any{"quant_method": "modelopt", "quant_algo": "FP8"}, down + "_scale", testEmbed, testFF, safetensors.BF16, []int{}},
		"Mistral's name":     {nil, "model.layers.1.mlp.down_proj.qscale_weight", testEmbed, testFF, safetensors.BF16, []int{1}},
	} {
		f := denseFolder(safetensors.BF16, false)
		if c.config != nil {
			f.config["quantization_config"] = c.config
		}
		want := f.scaledWeight(t, down, c.scaleName, c.rows, c.cols, c.typ, c.shape...)
		f.add("model.layers.1.mlp.down_proj.input_scale", 1) // of no use here
		m := f.open(t, 0)
		x, _ := m.Tensor(out)
		if x.Type != gguf.F32 {
			t.Errorf("%s: %v", name, x.Type)
			continue
		}
		b, err := x.Bytes()
		if err != nil || !slices.Equal(b, encode(safetensors.F32, want)) {
			t.Errorf("%s: other products (%v)", name, err)
		}
		// From the middle of an element and of a block.
		part := make([]byte, 101)
		if _, err := x.Data.ReadAt(part, 203); err != nil || !slices.Equal(part, b[203:304]) {
			t.Errorf("%s: a part differs (%v)", name, err)
		}
		if other, _ := m.Tensor("blk.0.ffn_down.weight"); other.Type != gguf.BF16 {
			t.Errorf("%s: a weight without scales became %v", name, other.Type)
		}
	}
}

func TestScalesFollowReorderedAndStackedRows(t *testing.T) {
	f := denseFolder(safetensors.F32, false)
	f.config["quantization_config"] = map[string]any{"quant_method": "fp8", "weight_block_size": []int{5, 7}}
	const q = "model.layers.0.self_attn.q_proj.weight" // 24 rows of 16
	want := f.scaledWeight(t, q, q+"_scale_inv", 5, 7, safetensors.F32, 5, 3)
	x, _ := f.open(t, 0).Tensor("blk.0.attn_q.weight")
	b, err := x.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	for row := range testHeads * testHead {
		head, k := row/testHead, row%testHead
		from := head*testHead + k%2*(testHead/2) + k/2
		for column := range testEmbed {
			got := math.Float32frombits(binary.LittleEndian.Uint32(b[4*(row*testEmbed+column):]))
			if got != want[from*testEmbed+column] {
				t.Fatalf("row %d, column %d is %g, want %g", row, column, got, want[from*testEmbed+column])
			}
		}
	}

	f = mixtralFolder(safetensors.BF16)
	f.config["quantization_config"] = map[string]any{"quant_method": "fp8", "weight_block_size": []int{4, 4}}
	var all []float32
	for _, e := range []string{"0", "1", "2"} {
		w := "model.layers.1.block_sparse_moe.experts." + e + ".w1.weight" // 10 rows of 16
		all = append(all, f.scaledWeight(t, w, w+"_scale_inv", 4, 4, safetensors.F32, 3, 4)...)
	}
	x, _ = f.open(t, 0).Tensor("blk.1.ffn_gate_exps.weight")
	if b, err := x.Bytes(); err != nil || !slices.Equal(b, encode(safetensors.F32, all)) {
		t.Errorf("stacked experts have other products (%v)", err)
	}
}

func TestEightBitWeightsWithoutScalesFitBF16(t *testing.T) {
	const down = "model.layers.0.mlp.down_proj.weight"
	for typ, values := range map[safetensors.DType]*[256]float32{safetensors.F8_E4M3: &e4m3, safetensors.F8_E5M2: &e5m2} {
		f := denseFolder(safetensors.BF16, false)
		raw, want := make([]byte, testEmbed*testFF), make([]float32, testEmbed*testFF)
		for i := range raw {
			raw[i] = byte(f.rng.IntN(0x7b)) | byte(f.rng.IntN(2))<<7
			want[i] = values[raw[i]]
		}
		i := slices.IndexFunc(f.tensors, func(t *safetensors.Tensor) bool { return t.Name == down })
		f.tensors[i] = &safetensors.Tensor{Name: down, DType: typ, Shape: []int{testEmbed, testFF}, Data: gguf.Memory(raw)}
		x, _ := f.open(t, 0).Tensor("blk.0.ffn_down.weight")
		if b, err := x.Bytes(); err != nil || x.Type != gguf.BF16 || !slices.Equal(b, encode(safetensors.BF16, want)) {
			t.Errorf("%v: became %v, or other values (%v)", typ, x.Type, err)
		}
	}
}

func TestScalesThatDoNotFitAreRefused(t *testing.T) {
	const down = "model.layers.1.mlp.down_proj.weight"
	fp8 := func(f *folder) {
		f.config["quantization_config"] = map[string]any{"quant_method": "fp8", "weight_block_size": []int{3, 4}}
	}
	for name, c := range map[string]struct {
		change func(f *folder)
		says   string
	}{
		"other shape":              {func(f *folder) { fp8(f); f.scaledWeight(t, down, down+"_scale_inv", 1, testFF, safetensors.F32, 16, 3) }, "have the shape [16 3]"},
		"no block in config.json":  {func(f *folder) { f.scaledWeight(t, down, down+"_scale_inv", 3, 4, safetensors.F32, 6, 3) }, "weight_block_size"},
		"scales that are integers": {func(f *folder) { f.scaledWeight(t, down, down+"_scale", testEmbed, testFF, safetensors.I32, 1) }, "stored as I32"},
		"one weight without": {func(f *folder) {
			fp8(f)
			const up = "model.layers.1.mlp.up_proj.weight"
			f.scaledWeight(t, down, down+"_scale_inv", 3, 4, safetensors.F32, 6, 3)
			f.scaledWeight(t, up, up+"_scale_inv", testFF, testEmbed, safetensors.F32, 1)
			f.remove(up + "_scale_inv")
		}, `up_proj.weight_scale_inv" is missing`},
		"scales of nothing": {func(f *folder) { f.add(down+"_scale", 1) }, down + "_scale"},
		"a block of one side": {func(f *folder) {
			f.config["quantization_config"] = map[string]any{"quant_method": "fp8", "weight_block_size": []int{3}}
		}, "two integers"},
		"a block of no columns": {func(f *folder) {
			f.config["quantization_config"] = map[string]any{"quant_method": "fp8", "weight_block_size": []int{3, 0}}
		}, "from 1 to"},
		"integers": {func(f *folder) { f.config["quantization_config"] = map[string]any{"quant_method": "gptq"} }, `method "gptq"`},
		"packed": {func(f *folder) {
			f.config["quantization_config"] = map[string]any{"quant_method": "compressed-tensors", "format": "pack-quantized"}
		}, "compressed-tensors pack-quantized"},
	} {
		f := denseFolder(safetensors.BF16, false)
		c.change(f)
		_, err := Open(f.write(t, 0))
		if !isMarked(err) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: the error is of no kind or does not say %q: %v", name, c.says, err)
		}
	}
}

func TestScalesOfAStackAreThoseOfItsMatrices(t *testing.T) {
	const matrices, rows, columns = 3, 5, 6
	raw := make([]byte, matrices*rows*columns)
	for i := range raw {
		raw[i] = byte(i % 0x7f)
	}
	weight := &safetensors.Tensor{Name: "w", DType: safetensors.F8_E4M3, Shape: []int{matrices, rows, columns}, Data: gguf.Memory(raw)}
	f := &folder8{blockRows: 2, blockColumns: 4}
	for _, c := range []struct {
		shape []int
		of    func(matrix, row, column int) int
	}{
		{[]int{}, func(_, _, _ int) int { return 0 }},
		{[]int{matrices}, func(m, _, _ int) int { return m }},
		{[]int{matrices, 1, 1}, func(m, _, _ int) int { return m }},
		{[]int{matrices, rows}, func(m, r, _ int) int { return m*rows + r }},
		{[]int{matrices, rows, 1}, func(m, r, _ int) int { return m*rows + r }},
		{[]int{matrices, 3, 2}, func(m, r, c int) int { return (m*3+r/2)*2 + c/4 }}, // blocks at the edges are cut
	} {
		values := make([]float32, elements(c.shape))
		for i := range values {
			values[i] = float32(i + 1)
		}
		s, err := f.fitted(weight, &safetensors.Tensor{Name: "s", DType: safetensors.F32, Shape: c.shape, Data: gguf.Float32s(values)})
		if err != nil {
			t.Fatalf("%v: %v", c.shape, err)
		}
		const from = 7 // in the middle of a row
		got := make([]byte, 4*(len(raw)-from))
		if err := s.decode(got, raw[from:], from, columns, &scaleRow{}); err != nil {
			t.Fatal(err)
		}
		for i, v := range gguf.DecodeFloat32(got) {
			at := from + i
			if want := e4m3[raw[at]] * values[c.of(at/(rows*columns), at/columns%rows, at%columns)]; v != want {
				t.Fatalf("%v: element %d is %g, want %g", c.shape, at, v, want)
			}
		}
	}
	for _, shape := range [][]int{{2}, {rows, matrices}, {matrices, 2, 2}, {matrices, 3}} {
		if _, err := f.fitted(weight, &safetensors.Tensor{Name: "s", DType: safetensors.F32, Shape: shape}); !errors.Is(err, ErrInvalid) {
			t.Errorf("%v: %v", shape, err)
		}
	}
}
