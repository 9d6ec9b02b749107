package memory

import "golang.org/x/sys/unix"

// Ask asks the system for the limits of this process. Darwin compresses memory and
// pages it out before it ends anything, so what the machine has is the limit, and not
// what is free.
func Ask() Limits {
	size, err := unix.SysctlUint64("hw.memsize")
	if err != nil {
		return nil
	}
	return Limits{{Machine, max(0, int64(size)-Held())}}
}
