package gguf

import (
	"encoding/binary"
	"io"
	"math"
)

// Float32s is tensor data held as float32. Writers read the values as they are
// then.
type Float32s []float32

// ReadAt encodes values as they are stored: little-endian.
func (f Float32s) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off >= 4*int64(len(f)) {
		return 0, io.EOF
	}
	n := 0
	var word [4]byte
	for i := int(off / 4); i < len(f) && n < len(p); i++ {
		binary.LittleEndian.PutUint32(word[:], math.Float32bits(f[i]))
		skip := 0
		if n == 0 {
			skip = int(off % 4)
		}
		n += copy(p[n:], word[skip:])
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// DecodeFloat32 reads the elements of an F32 tensor.
func DecodeFloat32(data []byte) []float32 {
	out := make([]float32, len(data)/4)
	for i := range out {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
	}
	return out
}

// Float32Tensor is an F32 tensor over values, which it does not copy.
func Float32Tensor(name string, shape []int, values []float32) *Tensor {
	return &Tensor{Name: name, Type: F32, Shape: shape, Data: Float32s(values)}
}
