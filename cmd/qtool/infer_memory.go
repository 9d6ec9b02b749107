package main

import (
	"fmt"
	"runtime"

	"qtool/internal/infer"
	"qtool/internal/kernel/product"
	"qtool/internal/memory"
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

// modelTooLarge is what to do where no flag helps.
const modelTooLarge = "take a smaller model, or a machine with more memory"

// checkRunning refuses a computation that does not fit.
func (b *budget) checkRunning(threads int, r running) error {
	since := memory.Held() - b.held
	of := func(size int) demand {
		runtime.GC() // what sizes before this one took is taken again
		pool := product.NewPool(threads)
		defer pool.Close()
		m := r.needs(pool, size, b.forRehearsals())
		return demand{Need: memory.Need{Own: since + m.Total(), Addresses: m.Rehearsal + m.Scratch}, atLeast: m.AtLeast}
	}
	d := of(r.size)
	if b.fits(d) {
		return nil
	}
	i := firstThatFits(len(r.smaller), func(i int) bool { return b.fits(of(r.smaller[i])) })
	if i == len(r.smaller) {
		return b.tooSmall(d, r.otherwise)
	}
	return b.tooSmall(d, fmt.Sprintf(r.advice+" it fits (%s)", r.smaller[i], formatBytes(b.inAll(of(r.smaller[i])))))
}

// windowsBelow are sizes of windows to try in place of one of n tokens.
func windowsBelow(n int) []int {
	const least = 16
	return halves(n, least)
}

// lengthsBelow are all numbers of tokens below n.
func lengthsBelow(n int) (lengths []int) {
	for n--; n > 0; n-- {
		lengths = append(lengths, n)
	}
	return lengths
}
