package gguf

import (
	"bytes"
	"math"
	"testing"
)

func TestFloat32TensorsReadLikeTheirBytes(t *testing.T) {
	values := []float32{0, 1, -2.5, float32(math.Inf(1)), 1e-40, 3}
	tensor := Float32Tensor("a", []int{3, 2}, values)
	whole, err := tensor.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range DecodeFloat32(whole) {
		if v != values[i] {
			t.Errorf("element %d is %g, want %g", i, v, values[i])
		}
	}
	for off := range len(whole) {
		for n := range len(whole) - off + 1 {
			part := make([]byte, n)
			if got, _ := tensor.Data.ReadAt(part, int64(off)); got != n || !bytes.Equal(part, whole[off:off+n]) {
				t.Fatalf("%d bytes at %d are %x, want %x", n, off, part[:got], whole[off:off+n])
			}
		}
	}
	if n, err := tensor.Data.ReadAt(make([]byte, 1), int64(len(whole))); n != 0 || err == nil {
		t.Error("it reads behind its end")
	}
}
