package quantize

import (
	"math"
	"math/rand/v2"
	"testing"
)

// randomItems are like tensors: cost falls with bytes, unevenly.
func randomItems(rng *rand.Rand, n, options int) [][]option {
	items := make([][]option, n)
	for i := range items {
		size := 1 + rng.IntN(40)
		weight := math.Exp(2 * rng.NormFloat64())
		for range options {
			bits := 1 + rng.IntN(16)
			noise := math.Exp(0.5 * rng.NormFloat64())
			items[i] = append(items[i], option{int64(size * bits), weight * noise * math.Pow(4, -float64(bits)/2)})
		}
	}
	return items
}

func total(items [][]option, choice []int) (bytes int64, cost float64) {
	for i, c := range choice {
		bytes += items[i][c].bytes
		cost += items[i][c].cost
	}
	return bytes, cost
}

// leastCost tries all choices, one budget after the other.
func leastCost(items [][]option, budget int64) float64 {
	best := make([]float64, budget+1) // by bytes used at most
	for _, options := range items {
		next := make([]float64, budget+1)
		for b := range next {
			next[b] = math.Inf(1)
			for _, o := range options {
				if o.bytes <= int64(b) {
					next[b] = min(next[b], best[int64(b)-o.bytes]+o.cost)
				}
			}
		}
		best = next
	}
	return best[budget]
}

func TestAllocationIsTheBestThereIs(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		items := randomItems(rng, 2+rng.IntN(12), 1+rng.IntN(9))
		var least, most int64
		for _, options := range items {
			ranked := useful(options)
			least += ranked[0].bytes
			most += ranked[len(ranked)-1].bytes
		}
		budget := least + rng.Int64N(most-least+2)
		choice, bound, ok := allocate(items, budget)
		if !ok {
			t.Fatalf("%d bytes are enough for %d", budget, least)
		}
		bytes, cost := total(items, choice)
		best := leastCost(items, budget)
		if bytes > budget || cost < best*(1-1e-9) || bound > best*(1+1e-9) {
			t.Fatalf("%d of %d bytes, cost %g, least %g, bound %g", bytes, budget, cost, best, bound)
		}
		if cost > best*(1+1e-9) {
			t.Errorf("cost %g for %d items of %d bytes, %g is possible", cost, len(items), budget, best)
		}
	}
}

func TestAllocationComesCloseToItsBoundForManyTensors(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	items := randomItems(rng, 400, 12)
	var least, most int64
	for _, options := range items {
		ranked := useful(options)
		least += ranked[0].bytes
		most += ranked[len(ranked)-1].bytes
	}
	for part := range 10 {
		budget := least + (most-least)*int64(part)/10
		choice, bound, _ := allocate(items, budget)
		if bytes, cost := total(items, choice); bytes > budget || cost > bound*1.002 {
			t.Errorf("%d of %d bytes, cost %g, bound %g", bytes, budget, cost, bound)
		}
	}
}

func TestAllocationFailsBelowTheSmallestSize(t *testing.T) {
	items := [][]option{{{10, 1}, {5, 2}}, {{7, 0}, {7, 1}}}
	if _, _, ok := allocate(items, 11); ok {
		t.Error("11 bytes passed for enough")
	}
	choice, _, ok := allocate(items, 12)
	if !ok || choice[0] != 1 || choice[1] != 0 {
		t.Errorf("12 bytes: %v", choice)
	}
	if choice, _, _ := allocate(items, math.MaxInt64); choice[0] != 0 || choice[1] != 0 {
		t.Errorf("any number of bytes: %v", choice)
	}
}
