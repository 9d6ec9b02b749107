package infer

import (
	"testing"

	"qtool/fixtures"
	"qtool/internal/kernel/product"
	"qtool/internal/model"
)

// A rehearsal finds what the computation then takes.
func TestMemoryIsPredictedAsItIsTaken(t *testing.T) {
	pool := product.NewPool(2)
	defer pool.Close()
	for _, family := range []string{"llama", "deepseek2", "qwen3moe"} {
		d, err := model.Load(fixtures.TinyFamily(1, family), model.Options{})
		if err != nil {
			t.Fatal(err)
		}
		const tokens = 20
		predicted := NewSession(d, nil, pool).LogitsMemory(tokens, 0)
		s := NewSession(d, nil, pool)
		if err := s.Logits(t.Context(), make([]int32, tokens), func([]float32) error { return nil }); err != nil {
			t.Fatal(err)
		}
		const line = 64 // of the cache, to which results are rounded
		if got := s.tape.PeakBytes(); got < predicted.Activations || got > predicted.Activations+4*line {
			t.Errorf("%s: %d bytes of activations, %d predicted", family, got, predicted.Activations)
		}
		effect := NewSession(d, nil, pool).EffectMemory(tokens, 0)
		s = NewSession(d, nil, pool)
		if _, err := s.Effect(t.Context(), make([]int32, tokens), func(bool) {}, nil); err != nil {
			t.Fatal(err)
		}
		if got := s.tape.PeakBytes(); got > effect.Activations+effect.Results || effect.Activations > got {
			t.Errorf("%s: %d bytes for an effect, %+v predicted", family, got, effect)
		}
		half := NewSession(d, nil, pool).LogitsMemory(tokens/2, 0)
		if predicted.Cache == 0 || predicted.Cache != 2*half.Cache {
			t.Errorf("%s: caches of %d bytes for %d tokens, %d for half of them", family, predicted.Cache, tokens, half.Cache)
		}
		if little := NewSession(d, nil, product.NewPool(1)).LogitsMemory(tokens, 64); !little.AtLeast || little.Total() > predicted.Total() {
			t.Errorf("%s: in 64 bytes of address space %+v is predicted of %+v", family, little, predicted)
		}
	}
}
