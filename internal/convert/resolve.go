package convert

import (
	"slices"
	"strings"

	"qtool/gguf"
	"qtool/internal/printable"
	"qtool/safetensors"
)

// sourceTensor is a tensor of the folder with the scales of its values, if there are any.
type sourceTensor struct {
	*safetensors.Tensor
	scales *scales
}

// resolve makes the tensors. Every source must be there with the right shape,
// and every tensor of the folder must be used.
func (r *recipes) resolve(folder *folder8) ([]*gguf.Tensor, error) {
	used := map[string]bool{}
	var out []*gguf.Tensor
	for _, x := range r.list {
		t, err := x.make(folder, used)
		if err != nil {
			return nil, err
		}
		if t != nil {
			out = append(out, t)
		}
	}
	var unexpected []string
	for _, t := range folder.Tensors() {
		if !used[t.Name] && !r.ignored[t.Name] && !r.isBehind(t.Name) && !neverNeeded(t.Name) && !(folder.scaled && isActivationScale(t.Name)) {
			unexpected = append(unexpected, t.Name)
		}
	}
	if len(unexpected) > 0 {
		slices.Sort(unexpected)
		return nil, refuse("the folder holds %d tensors that the architecture does not have: %s",
			len(unexpected), strings.Join(printable.Texts(unexpected[:min(5, len(unexpected))]), ", "))
	}
	return out, nil
}

func (r *recipes) isBehind(source string) bool {
	return slices.ContainsFunc(r.ignoredPrefixes, func(prefix string) bool { return strings.HasPrefix(source, prefix) })
}

// neverNeeded finds the constants that old writers stored with the weights.
func neverNeeded(name string) bool {
	return strings.HasSuffix(name, ".rotary_emb.inv_freq") ||
		strings.HasSuffix(name, ".attention.bias") || strings.HasSuffix(name, ".attention.masked_bias")
}

// make resolves one recipe; nil if it is optional and has no source.
func (x *recipe) make(folder *folder8, used map[string]bool) (*gguf.Tensor, error) {
	t := &gguf.Tensor{Name: x.name, Shape: x.shape}
	if x.values != nil {
		t.Type, t.Data = gguf.F32, encodeF32(x.values(x.shape[0]))
		return t, nil
	}
	if x.packed {
		return x.makePacked(folder, used)
	}
	var sources []sourceTensor
	for _, name := range x.sources {
		s, ok := folder.Tensor(name)
		if !ok && x.instead != "" {
			s, ok = folder.Tensor(x.instead)
		}
		if !ok && x.optional {
			return nil, nil
		}
		if !ok {
			return nil, invalid("the tensor %q, needed for %q, is missing from the folder", name, x.name)
		}
		if err := x.checkShape(s); err != nil {
			return nil, err
		}
		used[s.Name] = true
		scales, err := folder.scalesOf(s)
		if err != nil {
			return nil, err
		}
		if scales != nil {
			used[scales.tensor.Name] = true
		}
		sources = append(sources, sourceTensor{s, scales})
	}
	var err error
	if t.Type, err = x.targetType(sources); err != nil {
		return nil, err
	}
	t.Data = newData(x, sources, t.Type)
	return t, nil
}

// checkShape compares with one source, whose axes run the other way.
func (x *recipe) checkShape(s *safetensors.Tensor) error {
	want := slices.Clone(x.shape)
	if len(x.sources) > 1 || len(want) == 3 {
		want = want[:len(want)-1]
	}
	slices.Reverse(want)
	if x.sourceShape != nil {
		want = x.sourceShape
	}
	if !slices.Equal(want, s.Shape) {
		return invalid("the tensor %q has shape %v, config.json gives %v", s.Name, s.Shape, want)
	}
	return nil
}

// targetType keeps the floating-point type of matrices. Vectors, norms, routers
// and all that is no weight are F32, because llama.cpp takes nothing else there;
// F64 does not occur in GGUF models. Weights of 8 bits become F32 with scales, since a
// product has more bits, and BF16 without.
func (x *recipe) targetType(sources []sourceTensor) (gguf.Type, error) {
	types := make([]gguf.Type, len(sources))
	for i, s := range sources {
		switch s.DType {
		case safetensors.F32, safetensors.F64:
			types[i] = gguf.F32
		case safetensors.F16:
			types[i] = gguf.F16
		case safetensors.BF16:
			types[i] = gguf.BF16
		case safetensors.F8_E4M3, safetensors.F8_E5M2:
			types[i] = gguf.BF16
			if s.scales != nil {
				types[i] = gguf.F32
			}
		default:
			return 0, refuse("the tensor %q is stored as %v; F64, F32, F16, BF16, F8_E4M3 and F8_E5M2 are converted", s.Name, s.DType)
		}
	}
	name := x.name
	if len(x.shape) < 2 || !strings.HasSuffix(name, ".weight") || strings.HasSuffix(name, "_norm.weight") ||
		strings.HasSuffix(name, ".ffn_gate_inp.weight") || strings.HasSuffix(name, ".ffn_gate_inp_shexp.weight") {
		return gguf.F32, nil
	}
	if len(slices.Compact(types)) > 1 {
		return gguf.F32, nil // experts of different types: the one that holds all
	}
	return types[0], nil
}
