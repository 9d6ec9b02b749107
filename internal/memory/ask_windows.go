package memory

import (
	"unsafe"

	"golang.org/x/sys/windows"
)

// memoryStatus is MEMORYSTATUSEX.
type memoryStatus struct {
	length, load                           uint32
	physical, physicalLeft                 uint64
	commit, commitLeft                     uint64
	addresses, addressesLeft, extendedLeft uint64
}

// Ask asks the system for the limits of this process.
func Ask() Limits {
	status := memoryStatus{}
	status.length = uint32(unsafe.Sizeof(status))
	call := windows.NewLazySystemDLL("kernel32.dll").NewProc("GlobalMemoryStatusEx")
	if call.Find() != nil {
		return nil
	}
	if ok, _, _ := call.Call(uintptr(unsafe.Pointer(&status))); ok == 0 {
		return nil
	}
	return Limits{{Machine, int64(status.physicalLeft)}, {Commit, int64(status.commitLeft)}}
}
