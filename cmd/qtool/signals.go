package main

import (
	"errors"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
)

// endOnSignals calls end at the first signal that asks the program to end, so that it
// does so in good order. A second one ends the process at once: files that are not
// complete never had their names. A hangup counts as a first signal only, since shells and
// systemd send one after another signal, and not at all under nohup.
func endOnSignals(end func()) {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) {
		signal.Notify(signals, syscall.SIGHUP)
	}
	go func() {
		<-signals
		end()
		for s := range signals {
			if s != syscall.SIGHUP {
				os.Exit(exitInterrupted)
			}
		}
	}()
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
