package model_test

import (
	"slices"
	"strings"
	"testing"

	"qtool/gguf"
	"qtool/internal/arch"
	"qtool/internal/model"
	"qtool/internal/sharedtest"
	"qtool/quantize"
)

// changed is a golden model with other metadata and tensors: change returns those
// that take the place of each.
func changed(t *testing.T, name string, set map[string]gguf.Value, change func(x *gguf.Tensor) []*gguf.Tensor) gguf.Model {
	t.Helper()
	f, err := gguf.Open(sharedtest.Path(t, "golden/archs/"+name+".gguf"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	md := f.Metadata().Clone()
	for k, v := range set {
		if v == nil {
			md.Delete(k)
		} else {
			md.Set(k, v)
		}
	}
	var tensors []*gguf.Tensor
	for _, x := range f.Tensors() {
		tensors = append(tensors, change(x)...)
	}
	return gguf.Assemble(md, tensors)
}

func decoded(t *testing.T, x *gguf.Tensor) []float32 {
	v, err := quantize.Decode(x)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func wantGolden(t *testing.T, m gguf.Model, name string) {
	t.Helper()
	d, err := model.Load(m, model.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if e := sharedtest.NMSE(logits(t, d, sharedtest.Tokens(t)), sharedtest.Float32s(t, "golden/archs/"+name+".logits.f32")); !(e <= 1e-10) {
		t.Errorf("NMSE %g", e)
	}
}

// Files from before attn_k_b and attn_v_b have both in one matrix, the keys not
// transposed, and give the dimensions of the heads.
func TestKeysAndValuesInOneMatrixGiveTheSameLogits(t *testing.T) {
	const plain, rank, values, heads, rotated = 16, 32, 16, 4, 8
	var keys []float32
	m := changed(t, "deepseek2-v3", map[string]gguf.Value{
		"deepseek2.attention.key_length_mla": nil, "deepseek2.attention.value_length_mla": nil,
		"deepseek2.attention.key_length": uint32(plain + rotated), "deepseek2.attention.value_length": uint32(values),
		"deepseek2.attention.head_count_kv": uint32(heads),
	}, func(x *gguf.Tensor) []*gguf.Tensor {
		switch arch.ShortName(x.Name) {
		case "attn_k_b":
			keys = decoded(t, x)
			return nil
		case "attn_v_b":
			v := decoded(t, x)
			both := make([]float32, 0, rank*heads*(plain+values))
			for h := range heads {
				for i := range plain {
					for r := range rank {
						both = append(both, keys[(h*rank+r)*plain+i])
					}
				}
				both = append(both, v[h*values*rank:(h+1)*values*rank]...)
			}
			name := strings.Replace(x.Name, "attn_v_b", "attn_kv_b", 1)
			return []*gguf.Tensor{gguf.Float32Tensor(name, []int{rank, heads * (plain + values)}, both)}
		}
		return []*gguf.Tensor{x}
	})
	wantGolden(t, m, "deepseek2-v3")
}

func TestGateAndUpOfExpertsInOneTensorGiveTheSameLogits(t *testing.T) {
	var gate []float32
	m := changed(t, "deepseek2-v3", nil, func(x *gguf.Tensor) []*gguf.Tensor {
		switch arch.ShortName(x.Name) {
		case "ffn_gate_exps":
			gate = decoded(t, x)
			return nil
		case "ffn_up_exps":
			n, up := x.Shape[0]*x.Shape[1], decoded(t, x)
			var both []float32
			for e := range x.Shape[2] {
				both = append(append(both, gate[e*n:(e+1)*n]...), up[e*n:(e+1)*n]...)
			}
			name := strings.Replace(x.Name, "ffn_up_exps", "ffn_gate_up_exps", 1)
			return []*gguf.Tensor{gguf.Float32Tensor(name, []int{x.Shape[0], 2 * x.Shape[1], x.Shape[2]}, both)}
		}
		return []*gguf.Tensor{x}
	})
	wantGolden(t, m, "deepseek2-v3")
}

func TestTheExpertOfZerosOfLongCatMayBeMissing(t *testing.T) {
	m := changed(t, "longcat-flash", nil, func(x *gguf.Tensor) []*gguf.Tensor {
		if !strings.Contains(x.Name, "_exps") {
			return []*gguf.Tensor{x}
		}
		shape := slices.Clone(x.Shape)
		shape[2]--
		return []*gguf.Tensor{gguf.Float32Tensor(x.Name, shape, decoded(t, x)[:shape[0]*shape[1]*shape[2]])}
	})
	wantGolden(t, m, "longcat-flash")
}

// With a cache, queries meet the latents in place of the keys.
func TestCachedChunksEqualLlamaCpp(t *testing.T) {
	for _, name := range goldenModels {
		if strings.HasPrefix(name, "gemma") {
			continue
		}
		t.Run(name, func(t *testing.T) {
			d, ids := load(t, name), sharedtest.Tokens(t)
			tape, cache := newTape(t), d.NewCache(0)
			var got []float32
			for _, chunk := range [][]int32{ids[:20], ids[20:21], ids[21:]} {
				tape.Reset(false)
				got = append(got, d.Logits(tape, d.Hidden(tape, model.NewBatch(chunk, []int{0}), cache, false)).Data...)
			}
			if e := sharedtest.NMSE(got, sharedtest.Float32s(t, "golden/archs/"+name+".logits.f32")); !(e <= 1e-10) {
				t.Errorf("NMSE %g", e)
			}
		})
	}
}
