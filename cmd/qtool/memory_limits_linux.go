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
		{unix.RLIMIT_AS, "the process may have %s of address space (ulimit -v)"},
		{unix.RLIMIT_DATA, "the process may have %s of private memory (ulimit -d)"},
	} {
		var r unix.Rlimit
		if err := unix.Getrlimit(l.resource, &r); err == nil && r.Cur != unix.RLIM_INFINITY {
			limits = append(limits, fmt.Sprintf(l.text, formatBytes(int64(r.Cur))))
		}
	}
	if mode, _ := os.ReadFile("/proc/sys/vm/overcommit_memory"); bytes.Equal(bytes.TrimSpace(mode), []byte("2")) {
		limits = append(limits, "the system promises programs no more memory than it has (vm.overcommit_memory is 2)")
	}
	if machine := (unix.Sysinfo_t{}); unix.Sysinfo(&machine) == nil {
		limits = append(limits, fmt.Sprintf("the machine has %s of memory", formatBytes(int64(machine.Totalram)*int64(machine.Unit))))
	}
	return limits
}
