//go:build unix

package input

import "syscall"

// nonblocking makes opening a FIFO return at once where a file has become one since it was
// looked at.
const nonblocking = syscall.O_NONBLOCK
