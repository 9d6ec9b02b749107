package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// File is a file being written. It has its own name after Commit only.
type File struct {
	target string
	system System
	temp   Handle
	done   bool

	written, begun int64 // bytes written by Write; bytes that are on their way to the disk
}

// writeBackBytes is how much is written before the system is told to take it to the disk:
// by the time of Commit little is left to wait for.
const writeBackBytes = 8 << 20

// leastWriteBack is of how large a write at an offset the system is told.
const leastWriteBack = 1 << 20

// Create begins a file that will be called path. An existing file of that name
// stays as it is until Commit replaces it, and passes on its permissions; a new
// one gets 0644. If path is a symbolic link, what it points to is replaced.
func Create(path string) (*File, error) {
	target, mode, err := resolve(path)
	if err != nil {
		return nil, fmt.Errorf("creating %s: %w", path, err)
	}
	temp, err := beginTemp(target)
	if err != nil {
		return nil, fmt.Errorf("creating %s: %w", path, err)
	}
	f := &File{target: target, system: system, temp: temp}
	if mode != 0 {
		if err := temp.Chmod(mode); err != nil {
			f.Abort()
			return nil, fmt.Errorf("creating %s: giving it the permissions of the old file: %w", path, err)
		}
	}
	return f, nil
}

// resolve follows a symbolic link and returns the permissions of an existing
// file, 0 if there is none.
func resolve(path string) (target string, mode fs.FileMode, err error) {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return path, 0, nil
	case err != nil:
		return "", 0, folderError(filepath.Dir(path), err)
	case info.IsDir():
		return "", 0, errors.New("that is a folder; give the name of a file")
	case !info.Mode().IsRegular():
		return "", 0, fmt.Errorf("that is no regular file (%s); give the name of a file", info.Mode().Type())
	}
	return path, info.Mode().Perm(), nil
}

// folderError says in words why nothing can be created in dir. Of an error about a
// temporary file, whose name tells nothing, it keeps the system's words.
func folderError(dir string, err error) error {
	if about := (*fs.PathError)(nil); errors.As(err, &about) {
		err = about.Err
	}
	info, statErr := os.Stat(dir)
	switch {
	case errors.Is(statErr, fs.ErrNotExist):
		return fmt.Errorf("the folder %s does not exist; create it first: %w", dir, err)
	case statErr == nil && !info.IsDir():
		return fmt.Errorf("%s is a file, not a folder: %w", dir, err)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return fmt.Errorf("the folder %s is read-only for this user: %w", dir, err)
	}
	return err
}

// Write appends to the file.
func (f *File) Write(p []byte) (int, error) {
	if f.done {
		return 0, os.ErrClosed
	}
	n, err := f.temp.Write(p)
	f.written += int64(n)
	if f.written-f.begun >= writeBackBytes {
		f.temp.WriteBack(f.begun, f.written-f.begun)
		f.begun = f.written
	}
	return n, explain(f.target, err)
}

// WriteAt writes at an offset, as several goroutines may do at once. A file is written
// either so or by Write.
func (f *File) WriteAt(p []byte, off int64) (int, error) {
	if f.done {
		return 0, os.ErrClosed
	}
	n, err := f.temp.WriteAt(p, off)
	if n >= leastWriteBack {
		f.temp.WriteBack(off, int64(n))
	}
	return n, explain(f.target, err)
}

// Reserve sets space aside for n bytes in all where the file system can, so that a full
// disk is an error before the work and not after it.
func (f *File) Reserve(n int64) error {
	if f.done {
		return os.ErrClosed
	}
	if n <= 0 {
		return nil
	}
	if err := f.temp.Allocate(n); err != nil {
		return explain(f.target, fmt.Errorf("reserving %d bytes: %w", n, err))
	}
	return nil
}

// explain says in words what to do about a full disk.
func explain(path string, err error) error {
	if !full(err) {
		return err
	}
	return fmt.Errorf("the disk that %s is on is full; free some space, or write to another one: %w", filepath.Dir(path), err)
}

// full reports whether the disk, or the user's share of it, is full.
func full(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || outOfQuota(err)
}

// Commit makes the file durable and gives it its name, replacing what had that
// name before. If it fails, nothing is left behind.
func (f *File) Commit() error {
	if f.done {
		return os.ErrClosed
	}
	err := f.sync()
	if err == nil {
		err = f.takeName()
	}
	if err != nil {
		f.Abort()
		return err
	}
	return f.syncFolder()
}

func (f *File) sync() error {
	if err := f.temp.Sync(); err != nil {
		return fmt.Errorf("writing %s: %w", f.target, explain(f.target, err))
	}
	return nil
}

// takeName renames the file, which has been synced. It stays locked until it has its
// name where the system allows that.
func (f *File) takeName() error {
	if !renamesOpen {
		if err := errors.Join(touch(f.temp.Name()), f.temp.Close()); err != nil {
			return fmt.Errorf("writing %s: %w", f.target, err)
		}
	}
	if err := f.system.Rename(f.temp.Name(), f.target); err != nil {
		return fmt.Errorf("writing %s: %w", f.target, explain(f.target, err))
	}
	f.done = true
	if renamesOpen {
		_ = f.temp.Close() // all is on the disk already
	}
	return nil
}

func (f *File) syncFolder() error {
	if err := f.system.SyncFolder(filepath.Dir(f.target)); err != nil {
		return fmt.Errorf("writing %s: making its folder durable: %w", f.target, err)
	}
	return nil
}

// Abort drops what was written and leaves the target as it was. After Commit it
// does nothing, so it can be deferred.
func (f *File) Abort() {
	if f.done {
		return
	}
	f.done = true
	discard(f.system, f.temp)
}
