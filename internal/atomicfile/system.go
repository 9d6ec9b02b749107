package atomicfile

import (
	"io"
	"io/fs"
	"os"
)

// System is the operating system as far as it changes what is on a disk.
type System interface {
	// Create makes a new file and opens it for writing; the name must not be taken.
	Create(name string) (Handle, error)
	// Append opens a file for writing at its end, and makes it if it is not there.
	Append(name string) (Handle, error)
	Rename(from, to string) error
	Remove(name string) error
	Mkdir(name string, mode fs.FileMode) error
	// SyncFolder makes the names in a folder durable.
	SyncFolder(name string) error
}

// Handle is an open file of a [System].
type Handle interface {
	io.Writer
	io.WriterAt
	Name() string // it was opened by
	Stat() (fs.FileInfo, error)
	Chmod(mode fs.FileMode) error
	Truncate(size int64) error
	// Allocate sets space aside for a file of n bytes without changing its size. File
	// systems that cannot are no error.
	Allocate(n int64) error
	// WriteBack starts taking n bytes from off on to the disk, and waits for none. It is
	// a hint: what fails here fails again in Sync.
	WriteBack(off, n int64)
	// Lock marks the file as being written, until it is closed or the process ends. It
	// reports whether another process has the lock.
	Lock() (taken bool)
	Sync() error
	Close() error
}

// system is what all files are written by. It changes in tests only.
var system System = disk{}

// Replace makes s the system of all calls that follow, until restore. It is for tests,
// and must not be called while files are being written.
func Replace(s System) (restore func()) {
	old := system
	system = s
	return func() { system = old }
}

// Disk is the real system.
func Disk() System { return disk{} }

type disk struct{}

func (disk) Create(name string) (Handle, error) {
	return openHandle(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL)
}

func (disk) Append(name string) (Handle, error) {
	return openHandle(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND)
}

func (disk) Rename(from, to string) error              { return os.Rename(from, to) }
func (disk) Remove(name string) error                  { return os.Remove(name) }
func (disk) Mkdir(name string, mode fs.FileMode) error { return os.Mkdir(name, mode) }
func (disk) SyncFolder(name string) error              { return syncFolder(name) }

type handle struct{ *os.File }

func openHandle(name string, flags int) (Handle, error) {
	f, err := os.OpenFile(name, flags, 0o644)
	if err != nil {
		return nil, err
	}
	return handle{f}, nil
}

func (h handle) Allocate(n int64) error { return allocate(h.File, n) }
func (h handle) WriteBack(off, n int64) { writeBack(h.File, off, n) }
func (h handle) Lock() (taken bool)     { return lock(h.File) }
