package main

import (
	"path/filepath"

	"golang.org/x/sys/windows"
)

// freeSpace names the disk that dir is on and tells how many bytes this user may write
// there.
func freeSpace(dir string) (disk string, free int64, ok bool) {
	full, err := filepath.Abs(dir)
	if err != nil {
		return "", 0, false
	}
	name, err := windows.UTF16PtrFromString(full)
	if err != nil {
		return "", 0, false
	}
	var available uint64
	if windows.GetDiskFreeSpaceEx(name, &available, nil, nil) != nil {
		return "", 0, false
	}
	return filepath.VolumeName(full), int64(min(available, 1<<62)), true
}
