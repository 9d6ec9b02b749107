// Package budget holds what a command needs against the memory that there is.
package budget

import (
	"fmt"
	"sort"

	"qtool/gguf"
	"qtool/internal/memory"
	"qtool/internal/printable"
	"qtool/internal/usage"
)

// Budget is the memory that a command can have, against which it holds what it needs.
type Budget struct {
	command string
	warn    func(text string)
	force   bool
	limits  memory.Limits
	Held    int64 // by the program, when the limits were asked for
	Warned  bool  // so that warn is not told again
}

// New asks for the memory that there is. What is started with force although it does not fit
// is told to warn, once.
func New(command string, force bool, warn func(text string)) *Budget {
	return &Budget{command: command, warn: warn, force: force, Held: memory.HeldNow(), limits: memory.Ask()}
}

// Allow adds what the user allows the program to have in all.
func (b *Budget) Allow(bytes int64) {
	b.limits = append(b.limits, memory.Limit{Kind: memory.Resident, Left: bytes - b.Held})
}

// ForRehearsals is the most address space that finding out what is needed may take; 0 is
// no limit.
func (b *Budget) ForRehearsals() (most int64) {
	for _, l := range b.limits {
		left := l.Left
		switch l.Kind {
		case memory.Resident: // addresses are no memory
			continue
		case memory.Address, memory.Data: // which what is never touched counts for too
			left /= 3 // the rest is for scratch, and for what was rehearsed before
		}
		if most == 0 || left < most {
			most = max(1, left)
		}
	}
	return most
}

// has is what the program can have in all under a limit.
func (b *Budget) has(l memory.Limit) int64 { return max(0, l.Left+b.Held) }

// Demand is what a command needs.
type Demand struct {
	memory.Need
	AtLeast bool   // it is more
	Of      string // what needs it, if that is not all of the command
}

func (b *Budget) Fits(d Demand) bool {
	_, short := b.limits.Short(d.Need)
	return !short && !d.AtLeast
}

// TooSmall is the error about memory that is too small. With --force that is only said,
// once, and the error is nil. advice says what would fit.
func (b *Budget) TooSmall(d Demand, advice string) error {
	what := b.Shortage(d)
	if b.force {
		if !b.Warned {
			b.warn("warning: " + what + "; started all the same")
		}
		b.Warned = true
		return nil
	}
	err := fmt.Errorf("%s; %s; --force starts it all the same", what, advice)
	if l, _ := b.limits.Short(d.Need); l.Kind == memory.Resident {
		return usage.Errorf("%w", err)
	}
	return err
}

// Shortage says what is needed, what there is, and what limits it.
func (b *Budget) Shortage(d Demand) string {
	l, short := b.limits.Short(d.Need)
	if !short { // by what was not gone through
		l, _ = b.limits.Least()
	}
	needs := "needs "
	if d.AtLeast {
		needs = "needs more than "
	}
	of := b.command
	if d.Of != "" {
		of += ": " + d.Of
	}
	return fmt.Sprintf("%s %s%s of memory, and %s", of, needs, printable.Bytes(b.Held+d.Under(l.Kind)), l.Kind.Words(printable.Bytes(b.has(l))))
}

// InAll is what the program takes with a Demand.
func (b *Budget) InAll(d Demand) int64 { return b.Held + d.Own }

// Least is what the program can have in all; 0 if that is not known.
func (b *Budget) Least() int64 {
	least, ok := b.limits.Least()
	if !ok {
		return 0
	}
	return max(1, b.has(least))
}

// ForFiles is what the program can have with pages of mapped files; 0 if that is not known.
func (b *Budget) ForFiles() int64 {
	for _, l := range b.limits {
		if l.Kind == memory.Resident {
			return b.has(l)
		}
	}
	left, ok := b.limits.ForFiles()
	if !ok {
		return 0
	}
	return max(1, b.Held+left)
}

// CheckLoading refuses a model whose weights are converted on loading, and so take memory,
// if they take more than there is. Weights that are mapped do not count: the system drops
// and reads again what it needs room for.
func (b *Budget) CheckLoading(m gguf.Model, path string) error {
	var copied int64
	for _, t := range m.Tensors() {
		if !t.Viewed() {
			copied += t.Size()
		}
	}
	d := Demand{Need: memory.Need{Own: copied}, Of: "loading " + path}
	if copied == 0 || b.Fits(d) {
		return nil
	}
	return b.TooSmall(d, "these weights are converted on loading; from the GGUF file that qtool quantize writes they are read where they lie, which fits")
}

// FirstThatFits finds the first of n choices that fits, where all after it do too; n if
// none does.
func FirstThatFits(n int, fits func(i int) bool) int {
	if n == 0 || !fits(n-1) {
		return n
	}
	return sort.Search(n-1, fits)
}

// Halves are the halves of n, their halves and so on, down to least.
func Halves(n, least int) (smaller []int) {
	for n /= 2; n >= least; n /= 2 {
		smaller = append(smaller, n)
	}
	return smaller
}

// ModelTooLarge is what to do where no option helps.
const ModelTooLarge = "take a smaller model, or a machine with more memory"
