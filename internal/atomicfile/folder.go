package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// MkdirAll makes the folder path with all its parents that are missing, and makes
// their names durable.
func MkdirAll(path string, mode fs.FileMode) error {
	info, err := os.Stat(path)
	if err == nil && !info.IsDir() {
		return fmt.Errorf("making the folder %s: it is a file", path)
	}
	if err == nil {
		return nil
	}
	parent := filepath.Dir(filepath.Clean(path))
	if parent != path {
		if err := MkdirAll(parent, mode); err != nil {
			return err
		}
	}
	err = system.Mkdir(path, mode)
	if errors.Is(err, fs.ErrExist) { // another process was faster
		err = nil
	}
	if err == nil {
		err = system.SyncFolder(parent)
	}
	if err != nil {
		return fmt.Errorf("making the folder %s: %w", path, explain(path, err))
	}
	return nil
}

// CheckMkdirAll finds out whether MkdirAll could make the folder path, by the permissions
// of the nearest folder that is there. It makes nothing, since another process may be
// about to make the same folder.
func CheckMkdirAll(path string) error {
	dir := filepath.Clean(path)
	info, err := os.Stat(dir)
	for err != nil && !errors.Is(err, fs.ErrPermission) && dir != filepath.Dir(dir) {
		dir = filepath.Dir(dir)
		info, err = os.Stat(dir)
	}
	switch {
	case err != nil:
	case !info.IsDir():
		return fmt.Errorf("making the folder %s: %s is a file, not a folder", path, dir)
	default:
		err = writable(dir)
	}
	if err != nil {
		return fmt.Errorf("making the folder %s: %w", path, folderError(dir, err))
	}
	return nil
}

// Remove removes the file at path, durably. A file that is not there is no error.
func Remove(path string) error {
	err := system.Remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = system.SyncFolder(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("removing %s: %w", path, err)
	}
	return nil
}

// Rename gives the file from the name to, durably, in place of what had it.
func Rename(from, to string) error {
	if err := system.Rename(from, to); err != nil {
		return fmt.Errorf("renaming %s: %w", from, err)
	}
	for _, dir := range []string{filepath.Dir(to), filepath.Dir(from)} {
		if err := system.SyncFolder(dir); err != nil {
			return fmt.Errorf("renaming %s: making its folder durable: %w", from, err)
		}
		if dir == filepath.Dir(from) {
			break
		}
	}
	return nil
}
