package gguf

import (
	"fmt"
	"math"
)

const maxDims = 4 // of a tensor, as in ggml

// measure checks a shape by ggml's rules and returns the number of bytes of
// such a tensor, 0 if the type is unknown. Only the first dimension may be 0.
func measure(t Type, shape []int) (int64, error) {
	if len(shape) > maxDims {
		return 0, fmt.Errorf("expected at most %d dimensions, found the shape %v", maxDims, shape)
	}
	row, rows := 1, 1
	for i, n := range shape {
		if n < 0 || n == 0 && i > 0 {
			return 0, fmt.Errorf("no dimension but the first may be empty, found the shape %v", shape)
		}
		if i == 0 {
			row = n
			continue
		}
		if n > (math.MaxInt-1)/rows {
			return 0, fmt.Errorf("the number of elements of the shape %v overflows", shape)
		}
		rows *= n
	}
	if row > (math.MaxInt-1)/rows {
		return 0, fmt.Errorf("the number of elements of the shape %v overflows", shape)
	}
	if !t.Known() {
		return 0, nil
	}
	rowBytes, err := t.RowSize(row)
	if err != nil {
		return 0, err
	}
	if rowBytes > (math.MaxInt64-maxAlignment)/int64(rows) {
		return 0, fmt.Errorf("the number of bytes of the shape %v overflows", shape)
	}
	return rowBytes * int64(rows), nil
}
