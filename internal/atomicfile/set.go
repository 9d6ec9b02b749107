package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// CommitSet commits files that belong together. Without head the others
// must not be usable: it loses its name first and gets the new one last, so that a
// process that is killed, or a power cut, never leaves a mixture of old and new files
// that is taken for a set. If an error is returned the old files are back, or if that
// fails too, head is missing; it may also be that all are new but not known to be
// durable. Processes that commit to one folder at once wait for each other.
func CommitSet(head *File, rest ...*File) (err error) {
	if len(rest) == 0 {
		return head.Commit()
	}
	files := append([]*File{head}, rest...)
	s := &set{system: head.system}
	defer func() {
		for _, f := range files {
			f.Abort()
		}
	}()
	for _, f := range files {
		if f.done {
			return os.ErrClosed
		}
		if err := f.sync(); err != nil {
			return err
		}
		if dir := filepath.Dir(f.target); !slices.Contains(s.dirs, dir) { // links may lead to several
			s.dirs = append(s.dirs, dir)
		}
	}
	defer hold(s.dirs[0])()
	defer s.release()
	if err := s.replace(head, rest); err != nil {
		return errors.Join(err, s.undo())
	}
	err = s.sync()
	s.removeOld()
	return err
}

// set is a commit of several files under way.
type set struct {
	system System
	dirs   []string
	old    []oldFile // in the order in which they were moved
}

// oldFile is what had the name of one of the files before.
type oldFile struct {
	target   string
	aside    string // its name meanwhile; "" if there was none
	release  func() // its lock, so that it is not taken for stale
	replaced bool
}

func (s *set) replace(head *File, rest []*File) error {
	if err := s.moveAside(head.target); err != nil {
		return err
	}
	if err := s.sync(); err != nil {
		return err
	}
	for _, f := range rest {
		if err := s.moveAside(f.target); err != nil {
			return err
		}
		if err := f.takeName(); err != nil {
			return err
		}
		s.old[len(s.old)-1].replaced = true
	}
	if err := s.sync(); err != nil {
		return err
	}
	return head.takeName()
}

func (s *set) moveAside(target string) error {
	if _, err := os.Lstat(target); errors.Is(err, fs.ErrNotExist) {
		s.old = append(s.old, oldFile{target: target, release: func() {}})
		return nil
	}
	old := oldFile{target: target, aside: tempName(target), release: hold(target)}
	if err := s.system.Rename(target, old.aside); err != nil {
		old.release()
		return fmt.Errorf("replacing %s: %w", target, err)
	}
	s.old = append(s.old, old)
	return nil
}

// undo puts the old files back, head last, and only if all others are.
func (s *set) undo() error {
	for i := len(s.old) - 1; i >= 0; i-- {
		old, err := &s.old[i], error(nil)
		switch {
		case old.aside != "":
			err = s.system.Rename(old.aside, old.target)
		case old.replaced:
			err = s.system.Remove(old.target)
		}
		if err == nil && i <= 1 {
			err = s.sync()
		}
		if err != nil {
			return fmt.Errorf("and the files that it replaces could not be put back; write it again: %w", err)
		}
		old.aside = ""
	}
	return nil
}

// sync makes the renames until now durable.
func (s *set) sync() error {
	for _, dir := range s.dirs {
		if err := s.system.SyncFolder(dir); err != nil {
			return fmt.Errorf("making the names in %s durable: %w", dir, err)
		}
	}
	return nil
}

// removeOld removes what was replaced. What stays after a crash goes with the next set.
func (s *set) removeOld() {
	for _, old := range s.old {
		if old.aside != "" {
			_ = s.system.Remove(old.aside)
		}
	}
}

func (s *set) release() {
	for _, old := range s.old {
		old.release()
	}
}
