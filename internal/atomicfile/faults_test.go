package atomicfile_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"qtool/internal/atomicfile"
	"qtool/internal/atomicfile/faulty"
)

// scene is something that is done to a folder.
type scene struct {
	before map[string]string // files
	do     func(dir string) error
	// allowed are the contents that a failure or crash may leave, as contents prints them.
	allowed []string
	done    string // the content after do
	// rides lists kinds of calls whose failure is no error.
	rides []faulty.Kind
}

func write(path, text string) error {
	f, err := atomicfile.Create(path)
	if err != nil {
		return err
	}
	defer f.Abort()
	if err := f.Reserve(int64(len(text))); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	if _, err := f.Write([]byte(text)); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return f.Commit()
}

// writeSet writes head, and parts of the same text.
func writeSet(dir, text string, parts ...string) error {
	var files []*atomicfile.File
	for _, name := range append([]string{"head"}, parts...) {
		f, err := atomicfile.Create(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		defer f.Abort()
		if _, err := f.WriteAt([]byte(text), 0); err != nil {
			return fmt.Errorf("writing %s in %s: %w", name, dir, err)
		}
		files = append(files, f)
	}
	return atomicfile.CommitSet(files[0], files[1:]...)
}

var scenes = map[string]scene{
	"a new file": {
		do:      func(dir string) error { return write(filepath.Join(dir, "m"), "new") },
		allowed: []string{""},
		done:    "m=new",
		rides:   []faulty.Kind{faulty.Close},
	},
	"a file in place of an old one": {
		before:  map[string]string{"m": "old"},
		do:      func(dir string) error { return write(filepath.Join(dir, "m"), "new") },
		allowed: []string{"m=old"},
		done:    "m=new",
		rides:   []faulty.Kind{faulty.Close},
	},
	"a file in a new folder": {
		do: func(dir string) error {
			if err := atomicfile.MkdirAll(filepath.Join(dir, "a", "b"), 0o777); err != nil {
				return err
			}
			return write(filepath.Join(dir, "a", "b", "m"), "new")
		},
		allowed: []string{"", "a/", "a/ a/b/"},
		done:    "a/ a/b/ a/b/m=new",
		rides:   []faulty.Kind{faulty.Close},
	},
	"a new set": {
		do:      func(dir string) error { return writeSet(dir, "new", "x", "y") },
		allowed: []string{"", "x=new", "y=new", "x=new y=new"},
		done:    "head=new x=new y=new",
		rides:   []faulty.Kind{faulty.Close},
	},
	"a set in place of an old one": {
		before:  map[string]string{"head": "old", "x": "old", "y": "old", "other": "old"},
		do:      func(dir string) error { return writeSet(dir, "new", "x", "y") },
		allowed: []string{"head=old other=old x=old y=old"},
		done:    "head=new other=old x=new y=new",
		rides:   []faulty.Kind{faulty.Close, faulty.Remove},
	},
	"a set in place of a part of one": {
		before:  map[string]string{"x": "old"},
		do:      func(dir string) error { return writeSet(dir, "new", "x", "y") },
		allowed: []string{"x=old"},
		done:    "head=new x=new y=new",
		rides:   []faulty.Kind{faulty.Close, faulty.Remove},
	},
	"a name for another": {
		before: map[string]string{"from": "text", "to": "old"},
		do: func(dir string) error {
			return atomicfile.Rename(filepath.Join(dir, "from"), filepath.Join(dir, "to"))
		},
		allowed: []string{"from=text to=old"},
		done:    "to=text",
	},
	"a removal": {
		before:  map[string]string{"m": "old"},
		do:      func(dir string) error { return atomicfile.Remove(filepath.Join(dir, "m")) },
		allowed: []string{"m=old"},
		done:    "",
	},
	"a log": {
		before: map[string]string{"log": "a"},
		do: func(dir string) error {
			log, err := atomicfile.Append(filepath.Join(dir, "log"))
			if err != nil {
				return err
			}
			for range 2 {
				if _, err = log.Write([]byte("bcd")); err != nil {
					break
				}
			}
			return errors.Join(err, log.Sync(), log.Close())
		},
		allowed: []string{"log=a", "log=abcd", "log=abcdbcd"},
		done:    "log=abcdbcd",
	},
	"reserved space": {
		before: map[string]string{"m": "old"},
		do: func(dir string) error {
			r, err := atomicfile.Reserve(filepath.Join(dir, "m"), 1<<16)
			r.Release()
			return err
		},
		allowed: []string{"m=old"},
		done:    "m=old",
		rides:   []faulty.Kind{faulty.Close, faulty.Remove},
	},
}

// contents prints what is in dir without temporary files.
func contents(t *testing.T, dir string, temporary *int) string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		name, _ := filepath.Rel(dir, path)
		switch {
		case err != nil || path == dir:
			return err
		case strings.HasSuffix(name, atomicfile.Suffix):
			*temporary++
		case e.IsDir():
			all = append(all, filepath.ToSlash(name)+"/")
		default:
			b, err := os.ReadFile(path)
			all = append(all, fmt.Sprintf("%s=%s", filepath.ToSlash(name), b))
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(all, " ")
}

func (s scene) begin(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, text := range s.before {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestEveryFailureLeavesTheOldOrTheNew(t *testing.T) {
	for name, s := range scenes {
		for how, fail := range map[string]func(int) *faulty.Failing{"fails": faulty.Fail, "finds the disk full": faulty.Full} {
			for at := 0; s.fail(t, name+": call %s "+how, fail(at)); at++ {
			}
		}
	}
}

// fail runs s once on a system that fails somewhere, and reports whether it did.
func (s scene) fail(t *testing.T, label string, system *faulty.Failing) bool {
	dir := s.begin(t)
	restore := atomicfile.Replace(system)
	err := s.do(dir)
	restore()
	failed, left := system.Failed(), 0
	if failed == nil {
		if err != nil {
			t.Errorf("%s: %v", fmt.Sprintf(label, "none"), err)
		}
		return false
	}
	what, got := fmt.Sprintf(label, failed), contents(t, dir, &left)
	switch {
	case err == nil && (!slices.Contains(s.rides, failed.Kind) || got != s.done):
		t.Errorf("%s: no error, found %q", what, got)
	case got != s.done && !slices.Contains(s.allowed, got):
		t.Errorf("%s: found %q", what, got)
	case err != nil && !strings.Contains(err.Error(), dir):
		t.Errorf("%s: the error names no file: %v", what, err)
	case errors.Is(err, syscall.ENOSPC) && !strings.Contains(err.Error(), "is full; free some space"):
		t.Errorf("%s: the error does not say what to do: %v", what, err)
	}
	if left > 0 && failed.Kind != faulty.Remove {
		t.Errorf("%s: %d temporary files are left", what, left)
	}
	if len(s.before) == 0 { // it can be done again
		if err := s.do(dir); err != nil || contents(t, dir, &left) != s.done {
			t.Errorf("%s: the next time %q, %v", what, contents(t, dir, &left), err)
		}
	}
	return true
}

// A crash in the middle of the commit of a set may leave any of its files but the head.
func headless(contents string) bool {
	for _, entry := range strings.Fields(contents) {
		if strings.HasPrefix(entry, "head=") {
			return false
		}
	}
	return true
}

func TestEveryCrashLeavesTheOldOrTheNew(t *testing.T) {
	for name, s := range scenes {
		dir := s.begin(t)
		r, err := faulty.Record(dir)
		if err != nil {
			t.Fatal(err)
		}
		restore := atomicfile.Replace(r)
		err = s.do(dir)
		restore()
		if err != nil {
			t.Fatal(err)
		}
		crashes := 0
		for c := range r.Crashes {
			crashes++
			dir, left := t.TempDir(), 0
			if err := c.Make(dir); err != nil {
				t.Fatal(err)
			}
			got := contents(t, dir, &left)
			switch {
			case got == s.done, slices.Contains(s.allowed, got):
			case strings.Contains(name, "set") && headless(got):
			case name == "a log" && c.After < len(r.Calls()) && tornLog(got):
			default:
				t.Errorf("%s: %s: found %q", name, c, got)
			}
		}
		if crashes < 2 {
			t.Errorf("%s: %d crashes", name, crashes)
		}
		durable := r.Durable()
		dir = t.TempDir()
		if err := durable.Make(dir); err != nil {
			t.Fatal(err)
		}
		left := 0
		if got := contents(t, dir, &left); got != s.done || left > 0 && !strings.Contains(name, "set") {
			t.Errorf("%s: at the end %q and %d temporary files are durable", name, got, left)
		}
	}
}

// tornLog reports whether a log begins as it should and ends anywhere, or in zeros.
func tornLog(contents string) bool {
	return strings.HasPrefix("log=abcdbcd", strings.TrimRight(contents, "\x00"))
}
