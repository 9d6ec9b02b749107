package lora_test

import (
	"fmt"
	"log"

	"qtool/fixtures"
	"qtool/lora"
)

// Which weights of a base a pattern chooses, and the shapes of their pairs.
func ExampleSelect() {
	base, err := fixtures.Base()
	if err != nil {
		log.Fatal(err)
	}
	targets, err := lora.Select(base, []string{"blk.0.attn_*"}, false)
	if err != nil {
		log.Fatal(err)
	}
	const rank = 8
	for _, t := range targets {
		fmt.Printf("%s: A [%d %d], B [%d %d]\n", t.Tensor, t.In, rank, rank, t.Out)
	}
	// Output:
	// blk.0.attn_q.weight: A [128 8], B [8 128]
	// blk.0.attn_k.weight: A [128 8], B [8 64]
	// blk.0.attn_v.weight: A [128 8], B [8 64]
	// blk.0.attn_output.weight: A [128 8], B [8 128]
}
