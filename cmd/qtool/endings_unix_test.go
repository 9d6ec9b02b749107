//go:build unix

package main

import (
	"os"
	"syscall"
)

// endings are the signals that end a process; but for the first it can save its work.
var endings = []os.Signal{os.Kill, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP}
