package gguf_test

import (
	"fmt"
	"log"

	"qtool/fixtures"
	"qtool/quantize"
)

// What a model holds, and the values of one of its tensors. A file is opened with Open.
func Example() {
	m, err := fixtures.Base()
	if err != nil {
		log.Fatal(err)
	}
	name, err := m.Metadata().Str("general.architecture")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(name, len(m.Tensors()), "tensors")
	for _, t := range m.Tensors()[:2] {
		fmt.Println(t.Name, t.Type, t.Shape)
	}
	t, _ := m.Tensor("blk.0.attn_q.weight")
	values, err := quantize.Decode(t)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(t.Type, "decodes to", len(values), "values")
	// Output:
	// llama 29 tensors
	// output_norm.weight F32 [128]
	// token_embd.weight Q8_0 [128 880]
	// Q8_0 decodes to 16384 values
}
