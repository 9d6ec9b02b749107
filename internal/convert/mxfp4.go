package convert

import (
	"io"
	"slices"
	"strings"

	"qtool/gguf"
	"qtool/safetensors"
)

// holdsPacked reports whether the folder holds experts in MXFP4, which config.json may
// still say of a model that was trained in whole numbers.
func holdsPacked(folder *safetensors.Folder) bool {
	return slices.ContainsFunc(folder.Tensors(), func(t *safetensors.Tensor) bool { return strings.HasSuffix(t.Name, "_blocks") })
}

// packed adds NAME.weight of MXFP4 from the blocks and scales of all experts, of
// whose rows the cut is taken. The folder holds 16 bytes for each block of 32
// values, [experts, rows, blocks, 16], and a scale, [experts, rows, blocks].
func (b *block) packed(name, source string, in, out, n int, rows cut) {
	source = b.source + source
	b.add(&recipe{
		name: b.name + name + ".weight", shape: []int{in, out, n}, sources: []string{source + "_blocks", source + "_scales"},
		sourceShape: []int{n, rows.groupRows, (in + 31) / 32, 16}, cut: rows, packed: true,
	})
}

// makePacked resolves a recipe of MXFP4.
func (x *recipe) makePacked(folder *folder8, used map[string]bool) (*gguf.Tensor, error) {
	var parts []*safetensors.Tensor
	for i, name := range x.sources {
		s, ok := folder.Tensor(name)
		if !ok {
			return nil, invalid("the tensor %q, needed for %q, is missing from the folder", name, x.name)
		}
		if want := x.sourceShape[:4-i]; !slices.Equal(s.Shape, want) || s.DType != safetensors.U8 {
			return nil, invalid("the tensor %q is %v %v, config.json gives U8 %v", name, s.DType, s.Shape, want)
		}
		used[name] = true
		parts = append(parts, s)
	}
	if x.shape[0]%32 != 0 {
		return nil, invalid("the rows of %q have %d elements, MXFP4 takes blocks of 32", x.name, x.shape[0])
	}
	data := &repacked{blocks: parts[0].Data, scales: parts[1].Data, perRow: x.shape[0] / 32, rows: x.shape[1], experts: x.shape[2], cut: x.cut}
	return &gguf.Tensor{Name: x.name, Shape: x.shape, Type: gguf.MXFP4, Data: data}, nil
}

// repacked is MXFP4 data in the order of ggml. A byte of the folder holds two
// values that follow each other, the first in its low half; in ggml byte j of a
// block, after the scale, holds the values j and j+16.
type repacked struct {
	blocks, scales io.ReaderAt
	perRow         int // blocks of a row
	rows           int // of an expert
	experts        int
	cut            cut
}

const packedBytes, sourceBytes = 17, 16 // of a block

// Size is the number of bytes of the result.
func (r *repacked) Size() int64 {
	return int64(r.experts) * int64(r.rows) * int64(r.perRow) * packedBytes
}

// ReadAt computes the bytes that p asks for, row by row.
func (r *repacked) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off >= r.Size() {
		return 0, io.EOF
	}
	row := make([]byte, r.perRow*packedBytes)
	scratch := make([]byte, r.perRow*(sourceBytes+1))
	for read := 0; ; {
		at := off + int64(read)
		if read == len(p) {
			return read, nil
		}
		if at >= r.Size() {
			return read, io.EOF
		}
		if err := r.row(row, scratch, at/int64(len(row))); err != nil {
			return read, err
		}
		read += copy(p[read:], row[at%int64(len(row)):])
	}
}

// row makes one row of the result.
func (r *repacked) row(dst, scratch []byte, i int64) error {
	n := int64(r.rows)
	at := (i/n*int64(r.cut.groupRows) + int64(r.cut.first) + i%n*int64(r.cut.step)) * int64(r.perRow)
	blocks, scales := scratch[:r.perRow*sourceBytes], scratch[r.perRow*sourceBytes:]
	if _, err := readFull(r.blocks, blocks, at*sourceBytes); err != nil {
		return err
	}
	if _, err := readFull(r.scales, scales, at); err != nil {
		return err
	}
	for b, scale := range scales {
		from, to := blocks[b*sourceBytes:][:sourceBytes], dst[b*packedBytes:][:packedBytes]
		to[0] = scale
		for j := range 16 {
			shift := 4 * (j % 2)
			to[1+j] = from[j/2]>>shift&15 | from[8+j/2]>>shift<<4
		}
	}
	return nil
}
