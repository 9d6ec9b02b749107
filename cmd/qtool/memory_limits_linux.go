package main

import (
	"bytes"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// memoryLimits tells what limits the memory of this process.
func memoryLimits() (limits []string) {
	for _, l := range []struct {
		resource int
		text     string
	}{
		{unix.RLIMIT_AS, "its addresses are limited to %s (ulimit -v)"},
		{unix.RLIMIT_DATA, "its data is limited to %s (ulimit -d)"},
	} {
		var r unix.Rlimit
		if err := unix.Getrlimit(l.resource, &r); err == nil && r.Cur != unix.RLIM_INFINITY {
			limits = append(limits, fmt.Sprintf(l.text, formatBytes(int64(r.Cur))))
		}
	}
	if mode, _ := os.ReadFile("/proc/sys/vm/overcommit_memory"); bytes.Equal(bytes.TrimSpace(mode), []byte("2")) {
		limits = append(limits, "the system promises no more memory than it has (vm.overcommit_memory)")
	}
	if free := availableMemory(); free > 0 {
		limits = append(limits, fmt.Sprintf("the system has %s available", formatBytes(free)))
	}
	return limits
}
