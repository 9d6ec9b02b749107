package main

import (
	"fmt"
	"runtime"

	"qtool/internal/budget"
	"qtool/internal/infer"
	"qtool/internal/kernel/product"
	"qtool/internal/memory"
	"qtool/internal/printable"
)

// running is a computation with a model, and how much of it there is to do: tokens of a
// window or a chunk, or tokens to generate.
type running struct {
	size int
	// needs finds out on a pool what it takes at some size, in at most so many bytes of
	// address space.
	needs func(pool *product.Pool, size int, most int64) infer.Memory
	// smaller are sizes to try if that is too much, from the largest on.
	smaller []int
	// advice says what to do with one that fits; otherwise says it where none does.
	advice, otherwise string
}

// checkRunning refuses a computation that does not fit.
func checkRunning(b *budget.Budget, threads int, r running) error {
	since := memory.HeldNow() - b.Held // with garbage, so no less than what is needed
	of := func(size int) budget.Demand {
		pool := product.NewPool(threads)
		defer pool.Close()
		m := r.needs(pool, size, b.ForRehearsals())
		return budget.Demand{Need: memory.Need{Own: since + m.Total(), Addresses: m.Rehearsal + m.Scratch}, AtLeast: m.AtLeast}
	}
	d := of(r.size)
	if b.Fits(d) {
		return nil
	}
	since = memory.Held() - b.Held
	if d = of(r.size); b.Fits(d) {
		return nil
	}
	i := budget.FirstThatFits(len(r.smaller), func(i int) bool {
		runtime.GC() // what sizes before this one took is taken again
		return b.Fits(of(r.smaller[i]))
	})
	if i == len(r.smaller) {
		return b.TooSmall(d, r.otherwise)
	}
	return b.TooSmall(d, fmt.Sprintf(r.advice+" it fits (%s)", r.smaller[i], printable.Bytes(b.InAll(of(r.smaller[i])))))
}

// windowsBelow are sizes of windows to try in place of one of n tokens.
func windowsBelow(n int) []int {
	const least = 16
	return budget.Halves(n, least)
}

// lengthsBelow are all numbers of tokens below n.
func lengthsBelow(n int) (lengths []int) {
	for n--; n > 0; n-- {
		lengths = append(lengths, n)
	}
	return lengths
}
