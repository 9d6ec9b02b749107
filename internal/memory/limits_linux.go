package memory

import (
	"bufio"
	"bytes"
	"io/fs"
	"math"
	"path"
	"strconv"
	"strings"
)

// What the Go runtime takes beside what a program asks it for.
const (
	// heapSlack is address space: the heap is reserved in parts of 64 MiB, and a large block
	// begins in a new one if the last has no room for it.
	heapSlack = 192 << 20
	// runtimeSlack is private memory: garbage until it is collected, stacks of threads that
	// begin later, and what the runtime notes about the heap.
	runtimeSlack = 32 << 20
)

func (s *system) limits() (ls Limits) {
	memory := s.table("proc/meminfo")
	if left, ok := memory["MemAvailable"]; ok {
		ls = append(ls, Limit{Machine, left})
	}
	if left, ok := s.groupLeft(); ok {
		ls = append(ls, Limit{Group, left})
	}
	if s.number("proc/sys/vm/overcommit_memory") == 2 {
		ls = append(ls, Limit{Commit, max(0, memory["CommitLimit"]-memory["Committed_AS"])})
	}
	process := s.table("proc/self/status")
	if size, ok := process["VmData"]; ok && s.data != math.MaxInt64 {
		ls = append(ls, Limit{Data, max(0, s.data-size-runtimeSlack)})
	}
	if size, ok := process["VmSize"]; ok && s.addresses != math.MaxInt64 {
		ls = append(ls, Limit{Address, max(0, s.addresses-size-heapSlack)})
	}
	return ls
}

// table reads lines such as "MemAvailable: 12 kB", in bytes.
func (s *system) table(name string) map[string]int64 {
	values := map[string]int64{}
	text, _ := fs.ReadFile(s.files, name)
	for line := range bytes.Lines(text) {
		key, rest, _ := strings.Cut(string(line), ":")
		number, isSize := strings.CutSuffix(strings.TrimSpace(rest), " kB")
		if n, err := strconv.ParseInt(number, 10, 64); err == nil && isSize {
			values[key] = n << 10
		}
	}
	return values
}

// number reads a file that holds one number; -1 if it does not, as where "max" is no limit.
func (s *system) number(name string) int64 {
	text, _ := fs.ReadFile(s.files, name)
	n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		return -1
	}
	return int64(min(n, math.MaxInt64))
}

// hierarchy is one of the two forms of memory control groups.
type hierarchy struct {
	kind, controller string // of the mount, and of its line in /proc/self/cgroup
	limit, usage     string // files of a group
	cache            [2]string
}

var hierarchies = [...]hierarchy{
	{"cgroup2", "", "memory.max", "memory.current", [2]string{"inactive_file", "active_file"}},
	{"cgroup", "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", [2]string{"total_inactive_file", "total_active_file"}},
}

// groupLeft is the least that a control group of this process, or one that it lies in,
// leaves; ok is false if none has a limit.
func (s *system) groupLeft() (left int64, ok bool) {
	left = math.MaxInt64
	mounts, _ := fs.ReadFile(s.files, "proc/self/mountinfo")
	for _, h := range hierarchies {
		group, member := s.groupOf(h.controller)
		if !member {
			continue
		}
		for line := range bytes.Lines(mounts) {
			root, at, is := h.mount(string(line))
			if !is {
				continue
			}
			for _, dir := range groupsBetween(root, at, group) {
				if n, limited := s.leftIn(dir, h); limited {
					left, ok = min(left, n), true
				}
			}
		}
	}
	return left, ok
}

// groupOf finds the group of this process in the hierarchy of a controller, "" being that
// of version 2.
func (s *system) groupOf(controller string) (group string, ok bool) {
	text, _ := fs.ReadFile(s.files, "proc/self/cgroup")
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		fields := strings.SplitN(lines.Text(), ":", 3) // number:controllers:group
		if len(fields) == 3 && hasWord(fields[1], controller) {
			return fields[2], true
		}
	}
	return "", false
}

// mount reads a line of /proc/self/mountinfo: which group is mounted where, if it is a
// mount of this hierarchy.
func (h *hierarchy) mount(line string) (root, at string, ok bool) {
	// number parent device root at options [tags…] - kind source options
	mount, kind, _ := strings.Cut(line, " - ")
	where, what := strings.Fields(mount), strings.Fields(kind)
	if len(where) < 5 || len(what) < 3 || what[0] != h.kind || h.controller != "" && !hasWord(what[2], h.controller) {
		return "", "", false
	}
	return where[3], where[4], true
}

// hasWord reports whether a list, separated by commas, has a word; the empty list has "".
func hasWord(list, word string) bool {
	for w := range strings.SplitSeq(list, ",") {
		if w == word {
			return true
		}
	}
	return false
}

// groupsBetween are the folders of a group and of all that it lies in, as far as they can
// be seen below a mount of the group root. A container may see its own group as the root
// of the mount and yet be told its name on the machine.
func groupsBetween(root, at, group string) (dirs []string) {
	at = strings.TrimPrefix(path.Clean(at), "/")
	below, inside := strings.CutPrefix(path.Clean(group)+"/", strings.TrimSuffix(root, "/")+"/")
	if !inside {
		return []string{at}
	}
	for dir := path.Join(at, below); ; dir = path.Dir(dir) {
		dirs = append(dirs, dir)
		if len(dir) <= len(at) {
			return dirs
		}
	}
}

// leftIn is what the limit of the group at dir leaves. Cached files do not count as used:
// the system drops them where memory is wanted, those that were used lately too.
func (s *system) leftIn(dir string, h hierarchy) (left int64, ok bool) {
	const none = 1 << 60 // version 1 has a number near the largest for no limit
	limit := s.number(path.Join(dir, h.limit))
	if limit < 0 || limit > none {
		return 0, false
	}
	used := max(0, s.number(path.Join(dir, h.usage)))
	stat, _ := fs.ReadFile(s.files, path.Join(dir, "memory.stat"))
	for line := range bytes.Lines(stat) {
		key, value, _ := strings.Cut(strings.TrimSpace(string(line)), " ")
		if n, err := strconv.ParseInt(value, 10, 64); err == nil && (key == h.cache[0] || key == h.cache[1]) {
			used -= n
		}
	}
	return max(0, limit-max(0, used)), true
}
