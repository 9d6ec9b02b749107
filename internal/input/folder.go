package input

import (
	"io/fs"
	"os"
	"path/filepath"
)

// Folder is the file system below dir in which only folders and regular files can be opened.
func Folder(dir string) fs.FS { return folder{dir, os.DirFS(dir)} }

type folder struct {
	dir string
	all fs.FS
}

// Open implements [fs.FS].
func (f folder) Open(name string) (fs.File, error) {
	info, err := fs.Stat(f.all, name)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return f.all.Open(name)
	}
	return Open(filepath.Join(f.dir, filepath.FromSlash(name)))
}
