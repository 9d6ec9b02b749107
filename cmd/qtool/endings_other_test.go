//go:build !unix

package main

import "os"

// endings are the signals that end a process; but for the first it can save its work.
var endings = []os.Signal{os.Kill}
