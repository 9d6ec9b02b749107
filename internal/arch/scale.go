package arch

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"qtool/gguf"
)

// A weight may come with a scale: a tensor named like it with ".scale" for ".weight" that has
// one float32 for each of its matrices, by which their stored values are multiplied, as the
// conversion of NVFP4 models writes it. Its ".input_scale" is for programs that quantize
// activations too; llama.cpp loads it and computes without it, and so does qtool.
const (
	suffixWeight     = ".weight"
	suffixScale      = ".scale"
	suffixInputScale = ".input_scale"
)

// scaled are the weights of layers that may have a scale, by their short names: those for
// which llama.cpp looks for one. The head has one if it is NVFP4.
var scaled = []string{
	"attn_q", "attn_k", "attn_v", "attn_output", "attn_qkv", "attn_gate",
	"ffn_gate", "ffn_down", "ffn_up", "ffn_gate_shexp", "ffn_down_shexp", "ffn_up_shexp", "ffn_gate_exps", "ffn_down_exps", "ffn_up_exps",
	"ssm_in", "ssm_out", "ssm_alpha", "ssm_beta",
}

// ScaleOf is the scale of a weight of m; nil if it has none. It fails if llama.cpp would not
// take the scale, with [gguf.ErrFormat] if that is for its type or shape. No data is read.
func ScaleOf(m gguf.Model, weight *gguf.Tensor) (*gguf.Tensor, error) {
	name, ok := strings.CutSuffix(weight.Name, suffixWeight)
	if !ok {
		return nil, nil
	}
	s, ok := m.Tensor(name + suffixScale)
	if !ok {
		return nil, nil
	}
	if weight.Name == Output && weight.Type != gguf.NVFP4 {
		return nil, fmt.Errorf("tensor %q is stored as %v, and llama.cpp knows its scale %q only where it is NVFP4", weight.Name, weight.Type, s.Name)
	}
	if !MayHaveScale(weight.Name) {
		return nil, fmt.Errorf("tensor %q is a scale of %q, which can have none", s.Name, weight.Name)
	}
	if want := matricesOf(weight); s.Type != gguf.F32 || s.Elements() != want || len(s.Shape) != 1 {
		return nil, fmt.Errorf("%w: tensor %q has type %v and shape %v, expected %v and [%d]: a factor for each matrix of %q", gguf.ErrFormat, s.Name, s.Type, s.Shape, gguf.F32, want, weight.Name)
	}
	return s, nil
}

// MayHaveScale reports whether llama.cpp looks for a scale of a weight.
func MayHaveScale(weight string) bool {
	return weight == Output || LayerOf(weight) >= 0 && slices.Contains(scaled, ShortName(weight))
}

// matricesOf counts the matrices of a weight.
func matricesOf(weight *gguf.Tensor) int {
	n := 1
	for _, extent := range weight.Shape[min(2, len(weight.Shape)):] {
		n *= extent
	}
	return n
}

// Factors reads a scale: what the stored values of each matrix are multiplied by. It fails if
// one of them is not finite, with [gguf.ErrFormat].
func Factors(scale *gguf.Tensor) ([]float32, error) {
	b, err := scale.Bytes()
	if err != nil {
		return nil, err
	}
	factors := gguf.DecodeFloat32(b)
	for i, f := range factors {
		if !(math.Abs(float64(f)) <= math.MaxFloat32) {
			return nil, fmt.Errorf("%w: element %d of tensor %q is %g", gguf.ErrFormat, i, scale.Name, f)
		}
	}
	return factors, nil
}

// ScaleNames are the names of the tensors that may come with a weight.
func ScaleNames(weight string) (scale, inputScale string) {
	name := strings.TrimSuffix(weight, suffixWeight)
	return name + suffixScale, name + suffixInputScale
}

// scaledLast are the weights whose scale llama.cpp applies last of all, to a pair and to a bias
// as well.
var scaledLast = []string{"ffn_gate", "ffn_down", "ffn_up", "ffn_gate_shexp", "ffn_down_shexp", "ffn_up_shexp"}

// ScaledLast reports whether llama.cpp multiplies by the scale of the weight of a short name
// after it has added a pair and a bias.
func ScaledLast(weight string) bool { return slices.Contains(scaledLast, weight) }
