//go:build linux || darwin || freebsd

package main

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// freeSpace names the disk that dir is on and tells how many bytes this user may write
// there.
func freeSpace(dir string) (disk string, free int64, ok bool) {
	var st unix.Statfs_t
	info, err := os.Stat(dir)
	if err != nil || unix.Statfs(dir, &st) != nil || st.Blocks == 0 {
		return "", 0, false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "", 0, false
	}
	return fmt.Sprint(stat.Dev), int64(st.Bavail) * int64(st.Bsize), true
}
