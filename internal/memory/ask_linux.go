package memory

import (
	"io/fs"
	"math"
	"os"

	"golang.org/x/sys/unix"
)

// Ask asks the system for the limits of this process.
func Ask() Limits {
	s := system{files: os.DirFS("/"), addresses: math.MaxInt64, data: math.MaxInt64}
	for resource, soft := range map[int]*int64{unix.RLIMIT_AS: &s.addresses, unix.RLIMIT_DATA: &s.data} {
		var r unix.Rlimit
		if err := unix.Getrlimit(resource, &r); err == nil && r.Cur < math.MaxInt64 {
			*soft = int64(r.Cur)
		}
	}
	return s.limits()
}

// system is what the limits are read from.
type system struct {
	files           fs.FS // its root is "/"
	addresses, data int64 // bytes that RLIMIT_AS and RLIMIT_DATA allow; math.MaxInt64 is no limit
}
