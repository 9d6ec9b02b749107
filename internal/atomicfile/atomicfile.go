package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
)

// Suffix ends the temporary names, which look like ".model.gguf.1f3a9c02.partial".
// Such a file stays behind only if the process is killed; it is safe to delete
// once no process writes it.
const Suffix = ".partial"

// File is a file being written. It has its own name after Commit only.
type File struct {
	target string
	temp   *os.File
	done   bool

	written, begun int64 // bytes written; bytes that are on their way to the disk
}

// writeBackBytes is how much is written before the system is told to take it to the disk:
// by the time of Commit little is left to wait for.
const writeBackBytes = 8 << 20

// Create begins a file that will be called path. An existing file of that name
// stays as it is until Commit replaces it, and passes on its permissions; a new
// one gets 0644. If path is a symbolic link, what it points to is replaced.
func Create(path string) (*File, error) {
	target, mode, err := resolve(path)
	if err != nil {
		return nil, fmt.Errorf("creating %s: %w", path, err)
	}
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
		return f, err
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
	return n, err
}

// Commit makes the file durable and gives it its name, replacing what had that
// name before. If it fails, nothing is left behind.
func (f *File) Commit() error {
	if f.done {
		return os.ErrClosed
	}
	f.done = true
	err := f.temp.Sync()
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
