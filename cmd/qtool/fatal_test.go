package main

import (
	"context"
	"io"
	"runtime/debug"
	"sync"
)

// runIntoFatalError is the work of a program that is like qtool but for ending in the way
// that its argument names.
func runIntoFatalError(_ context.Context, args []string, _ io.Reader, _, stderr io.Writer) int {
	io.WriteString(stderr, "begins\n")
	switch args[0] {
	case "memory":
		for all := [][]byte{}; ; {
			all = append(all, make([]byte, 1<<20))
		}
	case "much memory": // more than the machine has
		make([]byte, 1<<42)[0] = 1
	case "stack":
		debug.SetMaxStack(1 << 20)
		return endless(0)
	case "mutex":
		new(sync.Mutex).Unlock()
	case "goroutine":
		go panic("faulty goroutine")
		select {}
	case "wait":
		select {}
	case "stray":
		println("written past the program")
	}
	return exitDone
}

// endless does not return: no stack is as deep as it asks for.
func endless(n int) int {
	if n < 0 {
		return n
	}
	return endless(n+1) + n
}
