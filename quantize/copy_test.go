package quantize_test

import (
	"errors"
	"testing"

	"qtool/gguf"
	"qtool/quantize"
)

func TestCopiesKeepEverythingButTheOrder(t *testing.T) {
	for _, c := range []struct {
		given []gguf.KV
		want  uint32
	}{
		{[]gguf.KV{{Key: "general.file_type", Value: uint32(7)}}, 7},
		{nil, 1024 | 15}, // marked as guessed
	} {
		md := llamaMetadata(1)
		for _, kv := range c.given {
			md.Set(kv.Key, kv.Value)
		}
		unknown := &gguf.Tensor{Name: "b", Type: 99, Shape: []int{3}, RawSize: 5, Data: gguf.Memory("12345")}
		m := gguf.Assemble(md, []*gguf.Tensor{
			tensorOf("output.weight", gguf.Q4_K, 256, 2), unknown,
			tensorOf("a.weight", gguf.Q4_K, 256, 2), tensorOf("c.weight", gguf.F16, 100, 2),
		})
		p := planOf(t, m, quantize.Options{FileType: "copy"})
		if got, err := p.Model().Metadata().Int("general.file_type"); err != nil || uint32(got) != c.want {
			t.Errorf("file type %d, %v, want %d", got, err, c.want)
		}
		for _, made := range p.Model().Tensors() {
			source, _ := m.Tensor(made.Name)
			a, err := source.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			if b, err := made.Bytes(); err != nil || string(a) != string(b) || made.Type != source.Type {
				t.Errorf("%s: %v, or its bytes differ", made.Name, err)
			}
		}
		if _, err := quantize.NewPlan(m, quantize.Options{FileType: "Q8_0", AllowRequantize: true}); !errors.Is(err, quantize.ErrUnsupported) {
			t.Errorf("an unknown type is quantized: %v", err)
		}
	}
}
