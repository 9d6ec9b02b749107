package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// availableMemory is what the system could give to this program, in bytes, and what
// its control groups permit if that is less; 0 if the system does not tell.
func availableMemory() int64 {
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return 0
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var kb int64
		if n, _ := fmt.Sscanf(lines.Text(), "MemAvailable: %d kB", &kb); n == 1 {
			return permittedMemory(kb << 10)
		}
	}
	return 0
}

// permittedMemory is most, or less if the control groups of this process have a
// lower limit. A container sees its own group as the root.
func permittedMemory(most int64) int64 {
	groups, _ := os.ReadFile("/proc/self/cgroup")
	for line := range strings.Lines(string(groups)) {
		_, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		controllers, group, _ := strings.Cut(rest, ":")
		root, name := "/sys/fs/cgroup", "memory.max"
		switch controllers {
		case "":
		case "memory":
			root, name = root+"/memory", "memory.limit_in_bytes"
		default:
			continue
		}
		for ; ; group = filepath.Dir(group) {
			text, _ := os.ReadFile(filepath.Join(root, group, name))
			if limit, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil {
				most = min(most, limit)
			}
			if group == "/" || group == "." || group == "" {
				break
			}
		}
	}
	return most
}
