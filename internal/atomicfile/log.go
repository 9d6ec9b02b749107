package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Log is a file that grows at its end. A Write is there whole or not at all, unless
// the process is killed in it; what was written last may be missing after a power cut
// until Sync.
type Log struct {
	path string
	h    Handle
	size int64
	torn bool // a failed Write left a part at the end
}

// Append opens path for writing at its end, and makes it if it is not there.
func Append(path string) (*Log, error) {
	_, err := os.Lstat(path)
	isNew := errors.Is(err, fs.ErrNotExist)
	h, err := system.Append(path)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", path, explain(path, folderError(filepath.Dir(path), err)))
	}
	info, err := h.Stat()
	if err == nil && isNew {
		err = system.SyncFolder(filepath.Dir(path))
	}
	if err != nil {
		h.Close()
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	return &Log{path: path, h: h, size: info.Size()}, nil
}

// Write adds p at the end.
func (l *Log) Write(p []byte) (int, error) {
	if err := l.mend(); err != nil {
		return 0, fmt.Errorf("writing %s: cutting off an unfinished part: %w", l.path, err)
	}
	n, err := l.h.Write(p)
	if err != nil {
		l.torn = n > 0
		_ = l.mend() // else the next Write does
		return 0, fmt.Errorf("writing %s: %w", l.path, explain(l.path, err))
	}
	l.size += int64(n)
	return n, nil
}

func (l *Log) mend() error {
	if !l.torn {
		return nil
	}
	err := l.h.Truncate(l.size)
	l.torn = err != nil
	return err
}

// Sync makes what was written durable.
func (l *Log) Sync() error {
	if err := l.h.Sync(); err != nil {
		return fmt.Errorf("writing %s: %w", l.path, explain(l.path, err))
	}
	return nil
}

// Close closes the file without syncing it.
func (l *Log) Close() error {
	if err := l.h.Close(); err != nil {
		return fmt.Errorf("closing %s: %w", l.path, explain(l.path, err))
	}
	return nil
}
