// Package panics carries a panic from the goroutine where it happened to the one that
// waits for it, along with its stack. [Go] and [Parallel] start goroutines whose panics do
// not end the process.
//
// It imports the standard library only and decides nothing: who recovers knows why.
package panics

import (
	"fmt"
	"runtime/debug"
)

// Panic is a recovered panic. It is an error, and raised again as it is.
type Panic struct {
	Value any
	Stack []byte // of the goroutine that panicked
}

// Of is r, which was just recovered in a deferred call, with the stack from there; it is r
// itself if another goroutine's panic was raised again.
func Of(r any) *Panic {
	if p, ok := r.(*Panic); ok {
		return p
	}
	return &Panic{r, debug.Stack()}
}

// Error is what the program would have printed.
func (p *Panic) Error() string { return fmt.Sprint(p.Value) }

// Unwrap is the value if it is an error.
func (p *Panic) Unwrap() error {
	err, _ := p.Value.(error)
	return err
}
