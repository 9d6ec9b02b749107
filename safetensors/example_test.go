package safetensors_test

import (
	"bytes"
	"context"
	"fmt"
	"log"

	"qtool/gguf"
	"qtool/safetensors"
)

// Tensors are written, and listed again. A file is opened with [safetensors.Open].
func Example() {
	t := &safetensors.Tensor{Name: "weight", DType: safetensors.F32, Shape: []int{2, 3}, Data: gguf.Float32s{0, 1, 2, 3, 4, 5}}
	var file bytes.Buffer
	if err := safetensors.Write(context.Background(), &file, []*safetensors.Tensor{t}, nil); err != nil {
		log.Fatal(err)
	}
	f, err := safetensors.Parse(bytes.NewReader(file.Bytes()), int64(file.Len()))
	if err != nil {
		log.Fatal(err)
	}
	for _, t := range f.Tensors() {
		raw, err := t.Bytes()
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(t.Name, t.DType, t.Shape, gguf.DecodeFloat32(raw))
	}
	// Output: weight F32 [2 3] [0 1 2 3 4 5]
}
