// Package scaledtest makes models for tests whose weights come with separate scales, as
// conversions of NVFP4 models write them.
package scaledtest

import (
	"math"

	"qtool/gguf"
	"qtool/internal/arch"
	"qtool/quantize"
)

// NVFP4 stores the weights of m that may have a scale as NVFP4 with a scale for each matrix, and
// returns that model and the same with F32 weights and no scales. Rows must have a multiple of
// 64 elements.
func NVFP4(m gguf.Model) (scaled, plain gguf.Model, err error) {
	var with, without []*gguf.Tensor
	for i, t := range m.Tensors() {
		own, ofInput := arch.ScaleNames(t.Name)
		if !arch.MayHaveScale(t.Name) || len(t.Shape) < 2 {
			with, without = append(with, t), append(without, t)
			continue
		}
		values, err := quantize.Decode(t)
		if err != nil {
			return nil, nil, err
		}
		matrices, size := 1, t.Shape[0]*t.Shape[1]
		if len(t.Shape) > 2 {
			matrices = t.Shape[2]
		}
		factors := make([]float32, matrices)
		for e := range factors {
			factors[e] = float32(math.Ldexp(1+float64(i%7)/8, -3-(i+e)%4))
			for k := range size {
				values[e*size+k] /= factors[e]
			}
		}
		stored, err := quantize.Convert(gguf.Float32Tensor(t.Name, t.Shape, values), gguf.NVFP4, nil)
		if err != nil {
			return nil, nil, err
		}
		if values, err = quantize.Decode(stored); err != nil {
			return nil, nil, err
		}
		for k := range values {
			values[k] *= factors[k/size]
		}
		with = append(with, stored, gguf.Float32Tensor(own, []int{matrices}, factors), gguf.Float32Tensor(ofInput, []int{matrices}, factors))
		without = append(without, gguf.Float32Tensor(t.Name, t.Shape, values))
	}
	return gguf.Assemble(m.Metadata(), with, m), gguf.Assemble(m.Metadata(), without, m), nil
}
