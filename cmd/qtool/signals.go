package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
)

// endOnSignals calls end at the first signal that asks the program to end, so that it
// does so in good order. A second one ends the process at once: files that are not
// complete never had their names. A hangup counts as a first signal only, since shells and
// systemd send one after another signal, and not at all under nohup. An interrupt that a
// command takes for itself counts for nothing.
func endOnSignals(end func(), interrupts *interrupts) {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) {
		signal.Notify(signals, syscall.SIGHUP)
	}
	go func() {
		ending := false
		for s := range signals {
			switch {
			case s == os.Interrupt && !ending && interrupts.taken():
			case !ending:
				ending = true
				end()
			case s != syscall.SIGHUP:
				os.Exit(exitInterrupted)
			}
		}
	}()
}

// interrupts lets a command take a Ctrl-C for itself, which else ends the program.
type interrupts struct {
	mu   sync.Mutex
	take func()
}

// taken gives an interrupt to the command that waits for one.
func (i *interrupts) taken() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.take == nil {
		return false
	}
	i.take()
	i.take = nil // the next one ends the program
	return true
}

// next has take called at the next interrupt, until stop is called. A nil i has none.
func (i *interrupts) next(take func()) (stop func()) {
	if i == nil {
		return func() {}
	}
	set := func(take func()) {
		i.mu.Lock()
		defer i.mu.Unlock()
		i.take = take
	}
	set(take)
	return func() { set(nil) }
}

// interruptsKey is the key of the interrupts of a context.
type interruptsKey struct{}

// interruptsOf are those that the process gives to commands; nil if it does not.
func interruptsOf(ctx context.Context) *interrupts {
	i, _ := ctx.Value(interruptsKey{}).(*interrupts)
	return i
}

// standardOutputs are those on the files out and errs, which end the work when nobody reads them any more.
// Without stdout the program ends like others, by [dieOfBrokenPipe]; without stderr as if
// it were interrupted, so that training leaves a checkpoint.
func standardOutputs(out, errs *os.File, end func()) (stdout, stderr *output) {
	// Else the process would end where it writes.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	stderr = &output{file: errs, onLoss: end}
	return &output{file: out, onLoss: func() {
		stderr.lost.Store(true) // there is nothing to say about it
		end()
	}}, stderr
}

// output is one of the program's outputs.
type output struct {
	file   *os.File
	lost   atomic.Bool // nobody reads it
	onLoss func()
}

func (o *output) isLost() bool { return o.lost.Load() }

func (o *output) Write(p []byte) (int, error) {
	if o.isLost() {
		return 0, syscall.EPIPE
	}
	n, err := o.file.Write(p)
	if errors.Is(err, syscall.EPIPE) && !o.lost.Swap(true) {
		o.onLoss()
	}
	return n, err
}

// Fd tells what it is connected to.
func (o *output) Fd() uintptr { return o.file.Fd() }

// dieOfBrokenPipe ends the process by SIGPIPE, as a program that does not care for its
// pipes ends when it writes. Shells take that for no failure of the program.
func dieOfBrokenPipe() {
	signal.Reset(syscall.SIGPIPE)
	os.Stdout.Write([]byte("\n")) // nobody reads it
	os.Exit(exitFailed)
}
