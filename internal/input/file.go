package input

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

var (
	// ErrNotRegular is in the chain of the error about a folder, FIFO, socket or device where
	// a file is expected.
	ErrNotRegular = errors.New("not a regular file")
	// ErrTooLarge is in the chain of the error about a file that is larger than allowed.
	ErrTooLarge = errors.New("file too large")
	// ErrChanged is in the chain of the error about a file that is not what it was when it
	// was opened.
	ErrChanged = errors.New("input changed")
)

// File is an open regular file.
type File struct {
	*os.File
	path string
	info fs.FileInfo // as it was when it was opened
}

// Open opens the regular file at path, or the one that a symbolic link leads to. Anything
// else is refused without being opened, which could block or have effects.
func Open(path string) (*File, error) {
	info, err := os.Stat(path)
	if err == nil {
		err = Regular(path, info)
	}
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDONLY|nonblocking, 0)
	if err != nil {
		return nil, err
	}
	// It may be another file by now.
	if info, err = f.Stat(); err == nil {
		err = Regular(path, info)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return &File{f, path, info}, nil
}

// Regular is the error about the file at path if it is not a regular one.
func Regular(path string, info fs.FileInfo) error {
	if info.Mode().IsRegular() {
		return nil
	}
	return fmt.Errorf("%w: %q is a %s; give a file", ErrNotRegular, path, kindOf(info.Mode()))
}

func kindOf(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "folder"
	case m&fs.ModeNamedPipe != 0:
		return "pipe (FIFO)"
	case m&fs.ModeSocket != 0:
		return "socket"
	case m&fs.ModeDevice != 0:
		return "device"
	}
	return "special file"
}

// Size is the number of bytes that the file had when it was opened.
func (f *File) Size() int64 { return f.info.Size() }

// Unchanged fails with [ErrChanged] if the path leads to another file than the one that is
// open, or if that has another size or time of modification than when it was opened: then
// what was read of it may be a mixture. A change within the same tick of the file system's
// clock that keeps the size is not seen.
func (f *File) Unchanged() error {
	now, err := os.Stat(f.path)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %q can no longer be found: %w", ErrChanged, f.path, err)
	case !os.SameFile(f.info, now):
		return f.changed("it was replaced by another file")
	case now.Size() != f.info.Size():
		return f.changed("it had %d bytes and now has %d", f.info.Size(), now.Size())
	case !now.ModTime().Equal(f.info.ModTime()):
		return f.changed("it was written to at %s", now.ModTime().Format("15:04:05"))
	}
	return nil
}

func (f *File) changed(format string, args ...any) error {
	return fmt.Errorf("%w: %q is not what it was when it was opened: %s; run the command again when nothing writes to it",
		ErrChanged, f.path, fmt.Sprintf(format, args...))
}

// ReadFile reads the regular file at path, which may have limit bytes.
func ReadFile(path string, limit int64) ([]byte, error) {
	f, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return ReadAll(f, path, f.Size(), limit)
}

// ReadAll reads r to its end, which may have limit bytes. size is how many it says that it
// has; it can have more, as growing files and those of /proc do.
func ReadAll(r io.Reader, name string, size, limit int64) ([]byte, error) {
	if size > limit {
		return nil, fmt.Errorf("%w: %q has %d bytes, expected at most %d", ErrTooLarge, name, size, limit)
	}
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, fmt.Errorf("reading %q: %w", name, err)
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("%w: %q has more than %d bytes", ErrTooLarge, name, limit)
	}
	return b, nil
}
