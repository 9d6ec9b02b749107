//go:build unix

package sharedtest

import (
	"syscall"
	"time"
)

// CPUTime is what this process has computed so far, on all cores. Tests that find work
// without end measure it instead of time, which passes on a busy machine too.
func CPUTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
