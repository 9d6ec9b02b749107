package quantize_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"qtool/gguf"
	"qtool/quantize"
)

// Values are quantized to Q8_0, and written as the one tensor of a GGUF file.
func Example() {
	values := make([]float32, 64)
	for i := range values {
		values[i] = float32(i) / 64
	}
	codec, err := quantize.Lookup(gguf.Q8_0)
	if err != nil {
		log.Fatal(err)
	}
	t := &gguf.Tensor{Name: "ramp", Type: gguf.Q8_0, Shape: []int{len(values)}}
	data := make(gguf.Memory, t.Size())
	codec.EncodeRow(data, values, nil)
	t.Data = data

	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "ramp.gguf")
	if err := gguf.WriteFile(context.Background(), path, gguf.Assemble(&gguf.Metadata{}, []*gguf.Tensor{t})); err != nil {
		log.Fatal(err)
	}
	f, err := gguf.Open(path)
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	t, _ = f.Tensor("ramp")
	values, err = quantize.Decode(t)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%v of %d bytes, value 32 is %.3f\n", t.Type, t.Size(), values[32])
	// Output: Q8_0 of 68 bytes, value 32 is 0.504
}

// Whether all values of a tensor are finite.
func ExampleExamine() {
	t := gguf.Float32Tensor("zeros", []int{32, 2}, make([]float32, 64))
	health, err := quantize.Examine(context.Background(), t, nil, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(health.NotFinite, "values are not finite; all are zero:", health.Zero)
	// Output: 0 values are not finite; all are zero: true
}
