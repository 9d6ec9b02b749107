package main

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"qtool/internal/printable"
)

// need is how many bytes a file that is going to be written will take.
type need struct {
	path  string
	bytes int64
}

// checkSpace refuses work whose results would not fit on their disks. Files that they
// replace stay until they are complete, so their space does not count. Disks that do not
// tell what is free are passed over.
func checkSpace(needs ...need) error {
	wanted := map[string]int64{}
	for _, n := range needs {
		dir := existingFolder(filepath.Dir(n.path))
		disk, free, ok := freeSpace(dir)
		if !ok {
			continue
		}
		if n.bytes > free-wanted[disk] {
			return fmt.Errorf("writing %s: the disk that %s is on has %s free, and %s are needed: free some space, or write to another disk",
				n.path, dir, printable.Bytes(free), printable.Bytes(wanted[disk]+min(n.bytes, math.MaxInt64-wanted[disk])))
		}
		wanted[disk] += n.bytes
	}
	return nil
}

// existingFolder is dir, or the nearest folder above it that is there.
func existingFolder(dir string) string {
	for {
		if _, err := os.Stat(dir); err == nil {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return dir
		}
		dir = parent
	}
}
