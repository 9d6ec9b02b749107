package faulty

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"qtool/internal/atomicfile"
)

// Crash is what a crash leaves in a folder.
type Crash struct {
	After int    // so many calls
	How   string // what was lost
	Kill  bool   // the process alone ended: nothing was lost

	files map[string][]byte // by path relative to the folder; nil for a folder
}

func (c Crash) String() string { return fmt.Sprintf("a crash after %d calls, %s", c.After, c.How) }

// Make writes what is left into an empty folder.
func (c Crash) Make(dir string) error {
	for _, name := range slices.Sorted(maps.Keys(c.files)) { // folders before what is in them
		path, data := filepath.Join(dir, name), c.files[name]
		var err error
		if data == nil {
			err = os.Mkdir(path, 0o777)
		} else {
			err = os.WriteFile(path, data, 0o644)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

const ofTheProcess = "of the process"

// state is one of the ways in which a crash can leave a disk.
type state struct {
	how     string
	names   map[string]*inode
	content func(*inode) []byte
}

func (n *inode) current() []byte    { return n.data }
func (n *inode) lastSynced() []byte { return n.synced }

// zeroed has the size that the file has now, and zeros where it has grown.
func (n *inode) zeroed() []byte {
	b := make([]byte, len(n.data))
	copy(b, n.synced)
	return b
}

// states lists what a crash now can leave: the process alone ends; or the system does,
// and of what was not synced nothing is left, the names alone, the names and sizes, or of
// each folder the last change of names alone.
func (d *disk) states() []state {
	last := maps.Clone(d.durable)
	for _, list := range d.pending {
		list[len(list)-1].apply(last)
	}
	return []state{
		{ofTheProcess, d.names, (*inode).current},
		{"without what was not synced", d.durable, (*inode).lastSynced},
		{"with all names, without contents that were not synced", d.names, (*inode).lastSynced},
		{"with all names, and zeros for contents that were not synced", d.names, (*inode).zeroed},
		{"with the last change of names in each folder alone", last, (*inode).lastSynced},
	}
}

func (s state) crash(after int) Crash {
	c := Crash{After: after, How: s.how, Kill: s.how == ofTheProcess, files: map[string][]byte{}}
	for name, n := range s.names {
		if !s.reachable(name) {
			continue
		}
		if n.folder {
			c.files[name] = nil
		} else {
			c.files[name] = append([]byte{}, s.content(n)...)
		}
	}
	return c
}

// reachable reports whether all folders above name are there.
func (s state) reachable(name string) bool {
	for dir := filepath.Dir(name); dir != "."; dir = filepath.Dir(dir) {
		if n := s.names[dir]; n == nil || !n.folder {
			return false
		}
	}
	return true
}

var temporary = regexp.MustCompile(`\.[0-9a-f]{8}` + regexp.QuoteMeta(atomicfile.Suffix) + `$`)

// key is the same for crashes that leave the same.
func (c Crash) key() string {
	var entries []string
	for name, data := range c.files {
		entries = append(entries, fmt.Sprintf("%q %t %x", temporary.ReplaceAllString(name, ""), data == nil, sha256.Sum256(data)))
	}
	slices.Sort(entries)
	return strings.Join(entries, "\n")
}
