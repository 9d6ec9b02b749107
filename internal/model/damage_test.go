package model_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"qtool/fixtures"
	"qtool/gguf"
	"qtool/internal/model"
)

// damages are what can be wrong with a tensor; nil is that it is missing.
var damages = map[string]func(t *gguf.Tensor) *gguf.Tensor{
	"missing": func(*gguf.Tensor) *gguf.Tensor { return nil },
	"a type that cannot be decoded": func(t *gguf.Tensor) *gguf.Tensor {
		return &gguf.Tensor{Name: t.Name, Type: gguf.Q8_1, Shape: t.Shape, Data: gguf.Memory(make([]byte, 36*t.Elements()))}
	},
	"a type that is not known": func(t *gguf.Tensor) *gguf.Tensor {
		return &gguf.Tensor{Name: t.Name, Type: 77, Shape: t.Shape, RawSize: 8, Data: gguf.Memory(make([]byte, 8))}
	},
	"longer rows": func(t *gguf.Tensor) *gguf.Tensor {
		return zeros(t.Name, append([]int{t.Shape[0] + 1}, t.Shape[1:]...)...)
	},
	"another matrix": func(t *gguf.Tensor) *gguf.Tensor { return zeros(t.Name, append(slices.Clone(t.Shape), 2)...) },
	"no rows at all": func(t *gguf.Tensor) *gguf.Tensor { return zeros(t.Name, 0, 32) },
	"no dimensions":  func(t *gguf.Tensor) *gguf.Tensor { return zeros(t.Name) },
	"no data": func(t *gguf.Tensor) *gguf.Tensor {
		return &gguf.Tensor{Name: t.Name, Type: t.Type, Shape: t.Shape, Data: gguf.Memory(nil)}
	},
}

// A model of which one tensor is damaged is refused, or computes without it where it is
// optional, however it is loaded.
func TestADamagedTensorNeverPanicsInAnyFamily(t *testing.T) {
	options := map[string]model.Options{
		"full": {TrainWeights: true}, "plain": {}, "planned": {Shapes: true}, "full, planned": {TrainWeights: true, Shapes: true},
	}
	for _, name := range fixtures.Families() {
		t.Run(name, func(t *testing.T) {
			m := fixtures.TinyFamily(1, name)
			for i, tensor := range m.Tensors() {
				for what, damage := range damages {
					all := slices.Clone(m.Tensors())
					if all[i] = damage(tensor); all[i] == nil {
						all = slices.Delete(all, i, i+1)
					}
					for how, opt := range options {
						d, err := model.Load(gguf.Assemble(m.Metadata(), all), opt)
						label := fmt.Sprintf("%s: %s, %s", tensor.Name, what, how)
						switch {
						case err == nil && what != "missing" && what != "no data":
							t.Errorf("%s: loaded", label)
						case err == nil && how == "plain":
							logits(t, d, []int32{5, 9, 33})
						case err != nil && what != "no data" && !errors.Is(err, model.ErrInvalid) && !errors.Is(err, model.ErrUnsupported):
							t.Errorf("%s: %v", label, err)
						}
					}
				}
			}
		})
	}
}

// Whatever a file counts, no more memory is taken than it has room for.
func TestImpossibleCountsAreRefusedInEveryFamily(t *testing.T) {
	for _, name := range fixtures.Families() {
		t.Run(name, func(t *testing.T) {
			for _, kv := range fixtures.TinyFamily(1, name).Metadata().All() {
				if _, isCount := kv.Value.(uint32); !isCount || !strings.HasPrefix(kv.Key, name+".") || kv.Key == name+".vocab_size" { // not read
					continue
				}
				for _, n := range []uint32{0, 1 << 20, 1<<31 - 1, 1 << 31, 1<<32 - 1} {
					m := fixtures.TinyFamily(1, name)
					m.Metadata().Set(kv.Key, n)
					_, err := model.Load(m, model.Options{})
					if err != nil && !errors.Is(err, model.ErrInvalid) && !errors.Is(err, model.ErrUnsupported) {
						t.Errorf("%s of %d: %v", kv.Key, n, err)
					}
					if err == nil && n == 1<<32-1 {
						t.Errorf("%s of %d: loaded", kv.Key, n)
					}
				}
			}
		})
	}
}
