package faulty

import (
	"fmt"
	"io/fs"

	"qtool/internal/atomicfile"
)

// Kind is what a system is asked to do.
type Kind string

// The calls of a system and of its handles.
const (
	Create     Kind = "create"
	Append     Kind = "append"
	Rename     Kind = "rename"
	Remove     Kind = "remove"
	Mkdir      Kind = "mkdir"
	SyncFolder Kind = "sync folder"
	Write      Kind = "write"
	WriteAt    Kind = "write at"
	Chmod      Kind = "chmod"
	Truncate   Kind = "truncate"
	Allocate   Kind = "allocate"
	Sync       Kind = "sync"
	Close      Kind = "close"
)

// needsSpace reports whether a call of this kind fails on a full disk.
func (k Kind) needsSpace() bool {
	switch k {
	case Create, Mkdir, Write, WriteAt, Allocate:
		return true
	}
	return false
}

// Call is one call. Name is the file or folder, for a handle the name that it was opened by.
type Call struct {
	Kind Kind
	Name string
	To   string // of Rename

	h    atomicfile.Handle // of what is done to a handle, or what Create and Append returned
	data []byte            // of Write and WriteAt
	n    int64             // the offset of WriteAt, the size of Truncate
}

func (c Call) String() string {
	s := fmt.Sprintf("%s %q", c.Kind, c.Name)
	if c.To != "" {
		s += fmt.Sprintf(" to %q", c.To)
	}
	return s
}

// observed is the real system with every call shown to someone who carries it out.
type observed struct {
	disk atomicfile.System
	// do carries a call out by calling act, or not. Its error is the caller's.
	do func(c *Call, act func() error) error
}

func (s *observed) Create(name string) (atomicfile.Handle, error) {
	return s.open(Create, name, s.disk.Create)
}

func (s *observed) Append(name string) (atomicfile.Handle, error) {
	return s.open(Append, name, s.disk.Append)
}

func (s *observed) open(kind Kind, name string, open func(string) (atomicfile.Handle, error)) (atomicfile.Handle, error) {
	c := &Call{Kind: kind, Name: name}
	err := s.do(c, func() (err error) {
		c.h, err = open(name)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &observedHandle{c.h, s}, nil
}

func (s *observed) Rename(from, to string) error {
	return s.do(&Call{Kind: Rename, Name: from, To: to}, func() error { return s.disk.Rename(from, to) })
}

func (s *observed) Remove(name string) error {
	return s.do(&Call{Kind: Remove, Name: name}, func() error { return s.disk.Remove(name) })
}

func (s *observed) Mkdir(name string, mode fs.FileMode) error {
	return s.do(&Call{Kind: Mkdir, Name: name}, func() error { return s.disk.Mkdir(name, mode) })
}

func (s *observed) SyncFolder(name string) error {
	return s.do(&Call{Kind: SyncFolder, Name: name}, func() error { return s.disk.SyncFolder(name) })
}

type observedHandle struct {
	atomicfile.Handle // Name, Stat, WriteBack and Lock change nothing on the disk
	s                 *observed
}

func (h *observedHandle) do(c *Call, act func() error) error {
	c.Name, c.h = h.Name(), h.Handle
	return h.s.do(c, act)
}

func (h *observedHandle) Write(p []byte) (n int, err error) {
	c := &Call{Kind: Write, data: p}
	err = h.do(c, func() (err error) {
		n, err = h.Handle.Write(c.data)
		return err
	})
	return n, err
}

func (h *observedHandle) WriteAt(p []byte, off int64) (n int, err error) {
	c := &Call{Kind: WriteAt, data: p, n: off}
	err = h.do(c, func() (err error) {
		n, err = h.Handle.WriteAt(c.data, off)
		return err
	})
	return n, err
}

func (h *observedHandle) Chmod(mode fs.FileMode) error {
	return h.do(&Call{Kind: Chmod}, func() error { return h.Handle.Chmod(mode) })
}

func (h *observedHandle) Truncate(size int64) error {
	return h.do(&Call{Kind: Truncate, n: size}, func() error { return h.Handle.Truncate(size) })
}

func (h *observedHandle) Allocate(n int64) error {
	return h.do(&Call{Kind: Allocate, n: n}, func() error { return h.Handle.Allocate(n) })
}

func (h *observedHandle) Sync() error { return h.do(&Call{Kind: Sync}, h.Handle.Sync) }

func (h *observedHandle) Close() error { return h.do(&Call{Kind: Close}, h.Handle.Close) }
