//go:build !linux && !darwin && !freebsd && !windows

package main

// freeSpace is not known on this platform.
func freeSpace(string) (disk string, free int64, ok bool) { return "", 0, false }
