package records

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"qtool/internal/input"
	"qtool/internal/printable"
)

// File is one file to read.
type File struct {
	Path   string  // or [Stdin]
	Weight float64 // of its source
}

// Set are the files of some sources.
type Set struct {
	Train []File
	Valid []File   // for evaluation; nil if no source has such files
	Notes []string // what of the sources is not read, and why
}

// Find lists the files of sources. A folder gives those that its names say: see
// [Set.Notes] for the rest. It reads no records, and not that a file can be read.
func Find(sources []Source) (*Set, error) {
	set, stdin := &Set{}, false
	for _, s := range sources {
		if s.Path == Stdin {
			if stdin {
				return nil, errors.New("standard input can be read once only; name it once")
			}
			stdin = true
			set.Train = append(set.Train, File(s))
			continue
		}
		info, err := os.Stat(s.Path)
		if err != nil {
			return nil, fmt.Errorf("opening the data: %w", err)
		}
		if !info.IsDir() {
			set.Train = append(set.Train, File(s))
			continue
		}
		if err := set.folder(s); err != nil {
			return nil, err
		}
	}
	return set, nil
}

// Paths lists the files, without standard input.
func (s *Set) Paths() []string {
	var paths []string
	for _, list := range [][]File{s.Train, s.Valid} {
		for _, f := range list {
			if f.Path != Stdin {
				paths = append(paths, f.Path)
			}
		}
	}
	return paths
}

// Check fails for files that cannot be read, and where all files of a set are empty. It
// looks at the beginning of each.
func (s *Set) Check() error {
	for _, list := range [][]File{s.Train, s.Valid} {
		var hollow []string
		for _, f := range list {
			if f.Path == Stdin {
				continue
			}
			kind, err := Look(f.Path)
			if err != nil {
				return err
			}
			if kind == Nothing {
				hollow = append(hollow, f.Path)
			}
		}
		if len(list) > 0 && len(hollow) == len(list) {
			return Empty(hollow[0])
		}
	}
	return nil
}

// Look says what kind the file at path is, by its beginning.
func Look(path string) (Kind, error) {
	f, err := input.Open(path)
	if err != nil {
		return 0, fmt.Errorf("opening the data: %w", err)
	}
	defer f.Close()
	s, err := newStream(f, path)
	if err != nil {
		return 0, err
	}
	defer s.close()
	return s.detect()
}

func (s *Set) note(format string, args ...any) {
	s.Notes = append(s.Notes, fmt.Sprintf(format, args...))
}

// some names the first of many.
func some(names []string) string {
	const most = 5
	list := printable.Texts(names[:min(len(names), most)])
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(list, ", "), len(names)-most)
	}
	return strings.Join(list, ", ")
}
