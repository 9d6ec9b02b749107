package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Suffix ends the temporary names, which look like ".model.gguf.1f3a9c02.partial".
// Such a file stays behind only if the process is killed, until the next one creates
// the same file.
const Suffix = ".partial"

// File is a file being written. It has its own name after Commit only.
type File struct {
	target string
	temp   *os.File
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
	removeStale(target)
	temp, err := createTemp(target)
	if err != nil {
		return nil, fmt.Errorf("creating %s: %w", path, folderError(filepath.Dir(target), err))
	}
	f := &File{target: target, temp: temp}
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

func createTemp(target string) (*os.File, error) {
	dir, base := filepath.Split(target)
	for attempt := 0; ; attempt++ {
		name := fmt.Sprintf("%s.%s.%08x%s", dir, base, rand.Uint32(), Suffix)
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if errors.Is(err, fs.ErrExist) && attempt < 100 {
			continue
		}
		if err != nil || !isLocked(lock(f)) && exists(name) || attempt == 100 {
			return f, err
		}
		f.Close() // another process took it for stale
		os.Remove(name)
	}
}

func exists(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}

// removeStale removes what killed processes left of the same target.
func removeStale(target string) {
	dir, base := filepath.Split(target)
	if dir == "" {
		dir = "."
	}
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		middle, ours := strings.CutPrefix(e.Name(), "."+base+".")
		middle, temporary := strings.CutSuffix(middle, Suffix)
		if ours && temporary && len(middle) == 8 && e.Type().IsRegular() {
			removeUnlocked(filepath.Join(dir, e.Name()))
		}
	}
}

// folderError says in words why nothing can be created in dir.
func folderError(dir string, err error) error {
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
		beginWriteBack(f.temp, f.begun, f.written-f.begun)
		f.begun = f.written
	}
	return n, f.explain(err)
}

// WriteAt writes at an offset, as several goroutines may do at once. A file is written
// either so or by Write.
func (f *File) WriteAt(p []byte, off int64) (int, error) {
	if f.done {
		return 0, os.ErrClosed
	}
	n, err := f.temp.WriteAt(p, off)
	if n >= leastWriteBack {
		beginWriteBack(f.temp, off, int64(n))
	}
	return n, f.explain(err)
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
	if err := reserve(f.temp, n); err != nil {
		return f.explain(fmt.Errorf("reserving %d bytes: %w", n, err))
	}
	return nil
}

// explain says in words what to do about a full disk.
func (f *File) explain(err error) error {
	if !full(err) {
		return err
	}
	return fmt.Errorf("the disk that %s is on is full; free some space, or write to another one: %w", filepath.Dir(f.target), err)
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
	f.done = true
	err := f.explain(f.temp.Sync())
	if e := f.temp.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.temp.Name(), f.target)
	}
	if err != nil {
		os.Remove(f.temp.Name())
		return fmt.Errorf("writing %s: %w", f.target, err)
	}
	if err := syncFolder(filepath.Dir(f.target)); err != nil {
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
	f.temp.Close()
	os.Remove(f.temp.Name())
}
