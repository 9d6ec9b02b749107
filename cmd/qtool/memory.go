package main

import (
	"fmt"
	"sort"

	"github.com/urfave/cli/v2"

	"qtool/gguf"
	"qtool/internal/memory"
)

func forceFlag() cli.Flag {
	return &cli.BoolFlag{Name: "force", Usage: "start although memory is too small"}
}

// budget is the memory that a command can have, against which it holds what it needs.
type budget struct {
	command string
	con     *console
	force   bool
	limits  memory.Limits
	held    int64 // by the program, when the limits were asked for
	warned  bool
}

func newBudget(command string, con *console, force bool) *budget {
	held := memory.Held() // gives garbage back first
	return &budget{command: command, con: con, force: force, held: held, limits: memory.Ask()}
}

// allow adds what the user allows the program to have in all.
func (b *budget) allow(bytes int64) {
	b.limits = append(b.limits, memory.Limit{Kind: memory.Resident, Left: bytes - b.held})
}

// forRehearsals is the most address space that finding out what is needed may take; 0 is
// no limit.
func (b *budget) forRehearsals() (most int64) {
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
func (b *budget) has(l memory.Limit) int64 { return max(0, l.Left+b.held) }

// demand is what a command needs.
type demand struct {
	memory.Need
	atLeast bool   // it is more
	of      string // what needs it, if that is not all of the command
}

func (b *budget) fits(d demand) bool {
	_, short := b.limits.Short(d.Need)
	return !short && !d.atLeast
}

// tooSmall is the error about memory that is too small. With --force that is only said,
// once, and the error is nil. advice says what would fit.
func (b *budget) tooSmall(d demand, advice string) error {
	what := b.shortage(d)
	if b.force {
		if !b.warned {
			b.con.say("warning: %s; started all the same", what)
		}
		b.warned = true
		return nil
	}
	err := fmt.Errorf("%s; %s; --force starts it all the same", what, advice)
	if l, _ := b.limits.Short(d.Need); l.Kind == memory.Resident {
		return usagef("%v", err)
	}
	return err
}

// shortage says what is needed, what there is, and what limits it.
func (b *budget) shortage(d demand) string {
	l, short := b.limits.Short(d.Need)
	if !short { // by what was not gone through
		l, _ = b.limits.Least()
	}
	needs := "needs "
	if d.atLeast {
		needs = "needs more than "
	}
	of := b.command
	if d.of != "" {
		of += ": " + d.of
	}
	return fmt.Sprintf("%s %s%s of memory, and %s", of, needs, formatBytes(b.held+d.Under(l.Kind)), l.Kind.Words(formatBytes(b.has(l))))
}

// inAll is what the program takes with a demand.
func (b *budget) inAll(d demand) int64 { return b.held + d.Own }

// least is what the program can have in all; 0 if that is not known.
func (b *budget) least() int64 {
	least, ok := b.limits.Least()
	if !ok {
		return 0
	}
	return max(1, b.has(least))
}

// forFiles is what the program can have with pages of mapped files; 0 if that is not known.
func (b *budget) forFiles() int64 {
	for _, l := range b.limits {
		if l.Kind == memory.Resident {
			return b.has(l)
		}
	}
	left, ok := b.limits.ForFiles()
	if !ok {
		return 0
	}
	return max(1, b.held+left)
}

// checkLoading refuses a model whose weights are converted on loading, and so take memory,
// if they take more than there is. Weights that are mapped do not count: the system drops
// and reads again what it needs room for.
func (b *budget) checkLoading(m gguf.Model, path string) error {
	var copied int64
	for _, t := range m.Tensors() {
		if !t.Viewed() {
			copied += t.Size()
		}
	}
	d := demand{Need: memory.Need{Own: copied}, of: "loading " + path}
	if copied == 0 || b.fits(d) {
		return nil
	}
	return b.tooSmall(d, "these weights are converted on loading; from the GGUF file that qtool quantize writes they are read where they lie, which fits")
}

// firstThatFits finds the first of n choices that fits, where all after it do too; n if
// none does.
func firstThatFits(n int, fits func(i int) bool) int {
	if n == 0 || !fits(n-1) {
		return n
	}
	return sort.Search(n-1, fits)
}

// halves are the halves of n, their halves and so on, down to least.
func halves(n, least int) (smaller []int) {
	for n /= 2; n >= least; n /= 2 {
		smaller = append(smaller, n)
	}
	return smaller
}
