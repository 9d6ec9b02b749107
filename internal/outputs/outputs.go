// Package outputs finds out before the work whether its results can be written, and are no
// inputs.
package outputs

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"qtool/gguf"
	"qtool/internal/atomicfile"
	"qtool/internal/usage"
)

// Check finds out before the work whether outputs can be written: each must be the
// name of a file, in a folder that takes new files, and neither one of the inputs nor
// another output. An input is a file, a folder with all that is in it, or a shard of a split
// model with the others; "" and "-" are none. Inputs need not be there.
func Check(inputs []string, outputs ...string) error {
	if err := Distinct(inputs, outputs...); err != nil {
		return err
	}
	for _, output := range outputs {
		if err := Writable(output); err != nil {
			return err
		}
	}
	return nil
}

// Distinct refuses an output that is one of the inputs or another output.
func Distinct(inputs []string, outputs ...string) error {
	read, err := placesOf(inputs)
	if err != nil {
		return err
	}
	var written []*place
	for _, output := range outputs {
		if output == "" || output == "-" {
			return usage.Errorf("output %q is not a file name", output)
		}
		p := placeOf(output)
		if p.info != nil && p.info.IsDir() {
			return usage.Errorf("output %s is a folder; give the name of a file", output)
		}
		if slices.ContainsFunc(read, p.same) {
			return usage.Errorf("output %s is also an input; choose another name", output)
		}
		if i := slices.IndexFunc(written, p.same); i >= 0 {
			return usage.Errorf("%s and %s would be the same file; choose another name for one of them", written[i].path, output)
		}
		written = append(written, p)
	}
	return nil
}

// Writable begins a file at path and drops it.
func Writable(path string) error {
	probe, err := atomicfile.Create(path)
	if err != nil {
		return fmt.Errorf("the output cannot be written: %w", err)
	}
	probe.Abort()
	return nil
}

// CheckModel is Check for a model that is written to output, or if split to
// shards whose number is not known yet.
func CheckModel(inputs []string, output string, split bool) error {
	if split && output != "" {
		output = gguf.ShardPath(output, 1, 1)
	}
	return Check(inputs, output)
}

// place is where a path leads, by what the file system says and not by its spelling.
type place struct {
	path   string
	info   fs.FileInfo // of the file, nil if there is none
	folder fs.FileInfo // that it is in or would be, nil if there is none
}

func placeOf(path string) *place {
	p := &place{path: path}
	p.info, _ = os.Stat(path)
	p.folder, _ = os.Stat(filepath.Dir(path))
	return p
}

// SameFile reports whether two paths lead to one file, or would once they are written.
func SameFile(a, b string) bool { return placeOf(a).same(placeOf(b)) }

// same reports whether both are one file: also by a symbolic or hard link, or if it is not
// there yet, by one name in one folder.
func (p *place) same(other *place) bool {
	switch {
	case p.info != nil && other.info != nil:
		return os.SameFile(p.info, other.info)
	case p.info != nil || other.info != nil:
		return false
	case p.folder != nil && other.folder != nil:
		return os.SameFile(p.folder, other.folder) && sameName(filepath.Base(p.path), filepath.Base(other.path))
	}
	a, errA := filepath.Abs(p.path)
	b, errB := filepath.Abs(other.path)
	return errA == nil && errB == nil && sameName(a, b)
}

// sameName compares names as the usual file systems of the platform do.
func sameName(a, b string) bool {
	if runtime.GOOS == "windows" || runtime.GOOS == "darwin" {
		return strings.EqualFold(a, b)
	}
	return a == b
}

// placesOf are the places of all files of the inputs.
func placesOf(inputs []string) (places []*place, err error) {
	for _, input := range inputs {
		files, err := filesOf(input)
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			places = append(places, placeOf(file))
		}
	}
	return places, nil
}

// filesOf lists the files that belong to an input.
func filesOf(path string) ([]string, error) {
	if path == "" || path == "-" {
		return nil, nil
	}
	if info, err := os.Stat(path); err != nil || !info.IsDir() {
		return gguf.ShardsOf(path), nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, fmt.Errorf("reading the folder %s: %w", path, err)
	}
	files := make([]string, len(entries))
	for i, e := range entries {
		files[i] = filepath.Join(path, e.Name())
	}
	return files, nil
}
