package convert

import (
	"encoding/binary"
	"maps"
	"math"
	"slices"
	"strings"

	"qtool/internal/half"
	"qtool/safetensors"
)

// Weights of 8 bits are floats that stand for a value times a scale: one scale for the
// tensor, one for each row, or one for each block of rows and columns. DeepSeek calls
// that NAME_scale_inv, although it is not inverted, most others NAME_scale.

// checkQuantization refuses what is not stored as floats of 8 bits.
func checkQuantization(c *config) error {
	q, ok := c.object("quantization_config")
	if err := c.err; err != nil || !ok {
		return err
	}
	method := q.str("quant_method", "unknown")
	detail := method
	switch method {
	case "fp8", "fbgemm_fp8", "mxfp4":
		return q.err
	case "modelopt":
		algorithm := q.str("quant_algo", "unknown")
		if algorithm == "FP8" {
			return q.err
		}
		detail += " " + algorithm
	case "compressed-tensors":
		format := q.str("format", "unknown")
		if format == "float-quantized" || format == "naive-quantized" {
			return q.err
		}
		detail += " " + format
	}
	if q.err != nil {
		return q.err
	}
	return refuse("its weights are already quantized (quantization_config, method %q), and of such only floats of 8 bits and MXFP4 are converted; use the original weights", detail)
}

// blockOf is the block that shares a scale, rows and columns; 0, 0 if config.json gives
// none.
func blockOf(c *config) (rows, columns int, err error) {
	q, ok := c.object("quantization_config")
	if !ok {
		return 0, 0, c.err
	}
	key := "weight_block_size"
	if groups, ok := q.object("config_groups"); ok { // those of compressed-tensors
		for _, name := range slices.Sorted(maps.Keys(groups.fields)) {
			if group, ok := groups.object(name); ok {
				if weights, ok := group.object("weights"); ok && weights.has("block_structure") {
					q, key = weights, "block_structure"
				}
			}
		}
		if groups.err != nil {
			return 0, 0, groups.err
		}
	}
	if !q.has(key) {
		return 0, 0, q.err
	}
	sides := q.integers(key)
	if len(sides) != 2 {
		q.fail(key, "two integers", q.fields[key])
		return 0, 0, q.err
	}
	return sides[0], sides[1], nil
}

// scaleNames are the names that the scale of a weight may have.
func scaleNames(weight string) []string {
	names := []string{weight + "_scale_inv", weight + "_scale"}
	if prefix, ok := strings.CutSuffix(weight, ".weight"); ok {
		names = append(names, prefix+".qscale_weight")
	}
	return names
}

// activationScales are ends of the names of scales that only inference in 8 bits needs.
var activationScales = []string{
	".input_scale", ".input_scale_ub", ".output_scale", ".activation_scale", "_activation_scale", ".qscale_act", ".k_scale", ".v_scale",
}

func isActivationScale(name string) bool {
	return slices.ContainsFunc(activationScales, func(end string) bool { return strings.HasSuffix(name, end) })
}

// scales multiply the weights of one tensor.
type scales struct {
	tensor                  *safetensors.Tensor
	blockRows, blockColumns int           // that share one
	perRow                  int           // scales of a row of blocks
	matrixRows, perMatrix   int           // of a stack: rows of a matrix, and rows of its scales
	values                  *[256]float32 // of a weight's bytes
}

// folder8 is a folder that knows how its 8-bit weights are scaled.
type folder8 struct {
	*safetensors.Folder
	blockRows, blockColumns int  // 0 if config.json gives none
	scaled                  bool // there are scales in the folder
}

func newFolder8(c *config, folder *safetensors.Folder) (*folder8, error) {
	rows, columns, err := blockOf(c)
	if err != nil {
		return nil, err
	}
	f := &folder8{Folder: folder, blockRows: rows, blockColumns: columns}
	for _, t := range folder.Tensors() {
		if is8Bit(t.DType) && slices.ContainsFunc(scaleNames(t.Name), func(name string) bool { _, ok := folder.Tensor(name); return ok }) {
			f.scaled = true
			break
		}
	}
	return f, nil
}

// scalesOf finds the scales of a weight; nil if it has none.
func (f *folder8) scalesOf(weight *safetensors.Tensor) (*scales, error) {
	if !is8Bit(weight.DType) {
		return nil, nil
	}
	for _, name := range scaleNames(weight.Name) {
		if t, ok := f.Tensor(name); ok {
			return f.fitted(weight, t)
		}
	}
	if f.scaled {
		return nil, invalid("the tensor %q is stored as %v, but %q is missing from the folder", weight.Name, weight.DType, scaleNames(weight.Name)[0])
	}
	return nil, nil
}

func is8Bit(d safetensors.DType) bool { return d == safetensors.F8_E4M3 || d == safetensors.F8_E5M2 }

// fitted checks the scales s against the weight, whose last axis is a row.
func (f *folder8) fitted(weight, s *safetensors.Tensor) (*scales, error) {
	switch s.DType {
	case safetensors.F32, safetensors.F16, safetensors.BF16, safetensors.F8_E8M0:
	default:
		return nil, refuse("the scales %q are stored as %v; F32, F16, BF16 and F8_E8M0 are converted", s.Name, s.DType)
	}
	n, matrices := len(weight.Shape), 1
	if n != 2 && n != 3 {
		return nil, refuse("the tensor %q has scales and the shape %v; those with two or three axes are converted", weight.Name, weight.Shape)
	}
	rows, columns := weight.Shape[n-2], weight.Shape[n-1]
	if n == 3 {
		matrices = weight.Shape[0]
	}
	values := &e4m3
	if weight.DType == safetensors.F8_E5M2 {
		values = &e5m2
	}
	shape := slices.Clone(s.Shape)
	for len(shape) > 1 && shape[len(shape)-1] == 1 {
		shape = shape[:len(shape)-1]
	}
	of := &scales{tensor: s, blockColumns: columns, perRow: 1, matrixRows: rows, values: values}
	blocks := []int{ceil(rows, max(1, f.blockRows)), ceil(columns, max(1, f.blockColumns))}
	every := []int{rows} // one for each row
	if n == 3 {
		blocks, every = append([]int{matrices}, blocks...), []int{matrices, rows}
	}
	switch {
	case elements(shape) == 1:
		of.blockRows, of.matrixRows = matrices*rows, matrices*rows
	case n == 3 && slices.Equal(shape, []int{matrices}):
		of.blockRows = rows
	case slices.Equal(shape, every):
		of.blockRows = 1
	case f.blockRows > 0 && (slices.Equal(s.Shape, blocks) || slices.Equal(shape, blocks)):
		of.blockRows, of.blockColumns, of.perRow = f.blockRows, f.blockColumns, blocks[n-1]
	default:
		return nil, f.unfit(s, rows)
	}
	of.perMatrix = ceil(of.matrixRows, of.blockRows)
	return of, nil
}

// unfit is the error about scales of a shape that fits no weight.
func (f *folder8) unfit(s *safetensors.Tensor, rows int) error {
	return invalid("the scales %q have the shape %v, which is none of one for the tensor, one for each of %d rows, "+
		"or one for each block of %d x %d (weight_block_size in config.json)", s.Name, s.Shape, rows, f.blockRows, f.blockColumns)
}

func elements(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

func ceil(a, b int) int { return (a + b - 1) / b }

// scaleRow is one row of scales, as floats.
type scaleRow struct {
	of     *scales
	row    int64
	raw    []byte
	values []float32
}

// decode gives the products, as float32, of the weights in src, which begins at element
// at of rows of width elements.
func (s *scales) decode(dst, src []byte, at int64, width int, cache *scaleRow) error {
	for len(src) > 0 {
		row, column := at/int64(width), int(at%int64(width))
		matrix, within := row/int64(s.matrixRows), row%int64(s.matrixRows)
		if err := s.read(matrix*int64(s.perMatrix)+within/int64(s.blockRows), cache); err != nil {
			return err
		}
		block := column / s.blockColumns
		n := min(len(src), width-column, (block+1)*s.blockColumns-column)
		scale := cache.values[block]
		for i, b := range src[:n] {
			putF32(dst, i, float32(s.values[b]*scale))
		}
		dst, src, at = dst[4*n:], src[n:], at+int64(n)
	}
	return nil
}

// read brings a row of scales into the cache.
func (s *scales) read(row int64, cache *scaleRow) error {
	if cache.of == s && cache.row == row {
		return nil
	}
	size := s.tensor.DType.Bits() / 8
	if len(cache.values) < s.perRow {
		cache.values, cache.raw = make([]float32, s.perRow), make([]byte, 4*s.perRow)
	}
	raw := cache.raw[:s.perRow*size]
	cache.of = nil
	if _, err := readFull(s.tensor.Data, raw, row*int64(len(raw))); err != nil {
		return err
	}
	for i := range s.perRow {
		switch s.tensor.DType {
		case safetensors.F32:
			cache.values[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
		case safetensors.F16:
			cache.values[i] = half.FromFloat16(binary.LittleEndian.Uint16(raw[2*i:]))
		case safetensors.BF16:
			cache.values[i] = half.FromBFloat16(binary.LittleEndian.Uint16(raw[2*i:]))
		case safetensors.F8_E8M0:
			cache.values[i] = fromE8M0(raw[i])
		}
	}
	cache.of, cache.row = s, row
	return nil
}

// fromE8M0 is 2 to the power of b-127; 255 is no number.
func fromE8M0(b byte) float32 {
	switch b {
	case 0:
		return math.Float32frombits(0x00400000)
	case 255:
		return float32(math.NaN())
	}
	return math.Float32frombits(uint32(b) << 23)
}

// e4m3 and e5m2 are the values of all bytes.
var e4m3, e5m2 = eightBitValues()

func eightBitValues() (e4m3, e5m2 [256]float32) {
	for i := range 256 {
		// The second is the upper half of a float16.
		e5m2[i] = half.FromFloat16(uint16(i) << 8)
		sign, exponent, mantissa := float32(1-2*(i>>7)), i>>3&15, float32(i&7)
		switch {
		case i&0x7f == 0x7f: // there is no infinity
			e4m3[i] = float32(math.NaN())
		case exponent == 0:
			e4m3[i] = sign * mantissa / 512
		default:
			e4m3[i] = sign * (1 + mantissa/8) * float32(math.Ldexp(1, exponent-7))
		}
	}
	return e4m3, e5m2
}
