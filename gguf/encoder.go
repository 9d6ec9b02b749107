package gguf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sort"

	"qtool/internal/printable"
)

// image is one file about to be written.
type image struct {
	header    []byte // up to the start of the data, padding included
	tensors   []*Tensor
	sizes     []int64
	starts    []int64 // in the file
	alignment int
}

// end is the size of the file.
func (im *image) end() int64 {
	end := int64(len(im.header))
	if n := len(im.sizes); n > 0 {
		end = im.starts[n-1] + padTo(im.sizes[n-1], im.alignment)
	}
	return end
}

// tensorAt is the first tensor that ends, with its padding, behind off or begins there.
func (im *image) tensorAt(off int64) int {
	return sort.Search(len(im.starts), func(i int) bool {
		return im.starts[i]+padTo(im.sizes[i], im.alignment) > off || im.starts[i] >= off
	})
}

// layOut encodes the header of a file. Each tensor begins at the first multiple
// of the alignment after the one before it, as ggml has it.
func layOut(md *Metadata, tensors []*Tensor) (*image, error) {
	alignment, err := alignmentOf(md)
	if err != nil {
		return nil, err
	}
	im := &image{tensors: tensors, sizes: make([]int64, len(tensors)), starts: make([]int64, len(tensors)), alignment: alignment}
	b := append([]byte(nil), magic...)
	b = binary.LittleEndian.AppendUint32(b, version)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(tensors)))
	b = binary.LittleEndian.AppendUint64(b, uint64(md.Len()))
	for _, kv := range md.All() {
		if b, err = appendKV(b, kv); err != nil {
			return nil, err
		}
	}
	seen := make(map[string]bool, len(tensors))
	var off int64
	for i, t := range tensors {
		if seen[t.Name] {
			return nil, fmt.Errorf("tensor %s is there twice", printable.Quote(t.Name))
		}
		seen[t.Name] = true
		size, err := checkedSize(t)
		if err != nil {
			return nil, fmt.Errorf("tensor %s: %w", printable.Quote(t.Name), err)
		}
		b = appendTensor(b, t, off)
		im.sizes[i], im.starts[i] = size, off
		if off = padTo(off+size, alignment); off < 0 {
			return nil, fmt.Errorf("tensor %s: the size of the file overflows", printable.Quote(t.Name))
		}
	}
	im.header = append(b, make([]byte, padTo(int64(len(b)), alignment)-int64(len(b)))...)
	for i := range im.starts {
		im.starts[i] += int64(len(im.header))
	}
	return im, nil
}

// checkedSize is t.Size after checking that t can be written.
func checkedSize(t *Tensor) (int64, error) {
	if t.Data == nil {
		return 0, errors.New("it has no data")
	}
	size, err := measure(t.Type, t.Shape)
	if err != nil {
		return 0, err
	}
	if !t.Type.Known() {
		size = t.RawSize
	}
	if size < 0 {
		return 0, fmt.Errorf("its size is given as %d bytes", size)
	}
	return size, nil
}

func appendTensor(b []byte, t *Tensor, off int64) []byte {
	b = appendString(b, t.Name)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(t.Shape)))
	for _, n := range t.Shape {
		b = binary.LittleEndian.AppendUint64(b, uint64(n))
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(t.Type))
	return binary.LittleEndian.AppendUint64(b, uint64(off))
}

func appendKV(b []byte, kv KV) ([]byte, error) {
	if kv.Key == "" {
		return nil, errors.New("a metadata key is empty")
	}
	t, err := valueTypeOf(kv.Value)
	if err == nil {
		b = appendString(b, kv.Key)
		b = binary.LittleEndian.AppendUint32(b, uint32(t))
		b, err = appendValue(b, t, kv.Value, 1)
	}
	if err != nil {
		return nil, fmt.Errorf("metadata key %s: %w", printable.Quote(kv.Key), err)
	}
	return b, nil
}

func appendValue(b []byte, t ValueType, v Value, depth int) ([]byte, error) {
	switch t {
	case TypeString:
		return appendString(b, v.(string)), nil
	case TypeArray:
		return appendArray(b, v, depth)
	}
	return binary.Append(b, binary.LittleEndian, v)
}

func appendArray(b []byte, v Value, depth int) ([]byte, error) {
	if depth > maxNesting {
		return nil, fmt.Errorf("arrays are nested more than %d deep", maxNesting)
	}
	t, err := elemTypeOf(v)
	if err != nil {
		return nil, err
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(t))
	switch a := v.(type) {
	case []string:
		b = binary.LittleEndian.AppendUint64(b, uint64(len(a)))
		for _, s := range a {
			b = appendString(b, s)
		}
		return b, nil
	case Arrays:
		b = binary.LittleEndian.AppendUint64(b, uint64(len(a)))
		for _, inner := range a {
			if b, err = appendArray(b, inner, depth+1); err != nil {
				return nil, err
			}
		}
		return b, nil
	}
	size := binary.Size(v)
	b = slices.Grow(b, 8+size)
	b = binary.LittleEndian.AppendUint64(b, uint64(size/elemSize(t)))
	return binary.Append(b, binary.LittleEndian, v)
}

// elemSize is the number of bytes of a value of a fixed-size type.
func elemSize(t ValueType) int {
	switch t {
	case TypeUint8, TypeInt8, TypeBool:
		return 1
	case TypeUint16, TypeInt16:
		return 2
	case TypeUint32, TypeInt32, TypeFloat32:
		return 4
	}
	return 8
}

func appendString(b []byte, s string) []byte {
	b = binary.LittleEndian.AppendUint64(b, uint64(len(s)))
	return append(b, s...)
}
