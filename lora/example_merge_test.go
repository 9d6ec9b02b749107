package lora_test

import (
	"context"
	"fmt"
	"log"

	"qtool/fixtures"
	"qtool/lora"
	"qtool/quantize"
)

// What is left of an adapter when it is merged into a base in the types that it has.
func ExampleSum_Survival() {
	base, err := fixtures.Base()
	if err != nil {
		log.Fatal(err)
	}
	defer base.Close()
	targets, err := lora.Select(base, []string{"blk.0.attn_q"}, false)
	if err != nil {
		log.Fatal(err)
	}
	adapter := pairsOn(targets, 2)
	combined, err := lora.Combine(lora.Scaled{Adapter: adapter, Strength: 0.5})
	if err != nil {
		log.Fatal(err)
	}
	sum, err := lora.Add(base, combined)
	if err != nil {
		log.Fatal(err)
	}
	plan, err := quantize.NewPlan(sum.Model(), quantize.Options{FileType: "COPY", KeepOrder: true, Stored: sum.Stored()})
	if err != nil {
		log.Fatal(err)
	}
	found, err := sum.Survival(context.Background(), plan, lora.Measuring{})
	if err != nil {
		log.Fatal(err)
	}
	for _, s := range found {
		fmt.Printf("%s, stored as %v: %.0f %% is kept\n", s.Tensor, s.Type, 100*s.Kept)
	}
	// The merged model, for gguf.WriteFile, is sum.Merged(plan).

	// Output:
	// blk.0.attn_q.weight, stored as Q8_0: 100 % is kept
}
