package lora_test

import (
	"context"
	"fmt"
	"log"

	"qtool/fixtures"
	"qtool/lora"
)

// The adapter that was added to a base, found again in the sum and cut to half its rank.
func ExampleExtract() {
	base, err := fixtures.Base()
	if err != nil {
		log.Fatal(err)
	}
	defer base.Close()
	targets, err := lora.Select(base, []string{"blk.0.attn_q"}, false)
	if err != nil {
		log.Fatal(err)
	}
	sum, err := lora.Add(base, pairsOn(targets, 4))
	if err != nil {
		log.Fatal(err)
	}
	found, err := lora.Extract(context.Background(), base, sum.Model(), lora.Extracting{Energy: 0.999})
	if err != nil {
		log.Fatal(err)
	}
	for _, f := range found.Fits {
		fmt.Printf("%s: rank %d keeps %.1f %%\n", f.Tensor, f.Rank, 100*f.Kept)
	}
	small, fits, err := found.Adapter.Resize(context.Background(), lora.Resizing{Rank: 2})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("rank %d keeps %.0f %% of that\n", small.Pairs[0].Rank(), 100*fits[0].Kept)

	// Output:
	// blk.0.attn_q.weight: rank 4 keeps 100.0 %
	// rank 2 keeps 85 % of that
}
