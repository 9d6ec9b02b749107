package safetensors

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"qtool/internal/input"
)

// The names of a model's files in a folder.
const (
	SingleFile = "model.safetensors"
	IndexFile  = "model.safetensors.index.json"
)

// Folder is a model in one file or in shards, seen as one set of tensors.
type Folder struct {
	// Files are the open files, in the order of their names.
	Files []*File

	tensors []*Tensor
	index   map[string]*Tensor
}

// OpenFolder opens the model in dir: model.safetensors, or the shards that
// model.safetensors.index.json lists. Index and shards must agree on every
// tensor; where they do not, the error matches [ErrFormat]. A shard may be a
// symbolic link to anywhere, as in the cache of Hugging Face, but its name may
// not lead out of dir. The caller closes the folder.
func OpenFolder(dir string) (*Folder, error) {
	single, index := filepath.Join(dir, SingleFile), filepath.Join(dir, IndexFile)
	haveIndex, err := isFile(index)
	if err != nil {
		return nil, err
	}
	haveSingle, err := isFile(single)
	if err != nil {
		return nil, err
	}
	f := &Folder{index: map[string]*Tensor{}}
	switch {
	case haveIndex:
		err = f.openShards(dir, index, haveSingle)
	case haveSingle:
		err = f.add(single)
	default:
		err = fmt.Errorf("%w: %s holds neither %s nor %s: %w", ErrFormat, dir, SingleFile, IndexFile, fs.ErrNotExist)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func isFile(path string) (bool, error) {
	st, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && !st.IsDir(), err
}

func (f *Folder) openShards(dir, indexPath string, haveSingle bool) error {
	weightMap, err := readIndex(indexPath)
	if err != nil {
		return err
	}
	shards := slices.Compact(slices.Sorted(maps.Values(weightMap)))
	if haveSingle && !slices.Contains(shards, SingleFile) {
		return fmt.Errorf("%w: %s holds both %s and an %s that does not list it; remove one of the two", ErrFormat, dir, SingleFile, IndexFile)
	}
	for _, shard := range shards {
		if !filepath.IsLocal(filepath.FromSlash(shard)) {
			return &FormatError{indexPath, 0, fmt.Sprintf("shard name %q", shard), "expected a path inside the folder"}
		}
		err := f.add(filepath.Join(dir, filepath.FromSlash(shard)))
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%w: a shard that %s lists is missing: %w", ErrFormat, indexPath, err)
		}
		if err != nil {
			return fmt.Errorf("opening a shard that %s lists: %w", IndexFile, err)
		}
		for _, t := range f.Files[len(f.Files)-1].Tensors() {
			if want := weightMap[t.Name]; want != shard {
				return disagree(indexPath, t.Name, "the shard %q holds it, the index says %q", shard, want)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(weightMap)) {
		if f.index[name] == nil {
			return disagree(indexPath, name, "the index says %q, which does not hold it", weightMap[name])
		}
	}
	return nil
}

func disagree(indexPath, tensor, format string, args ...any) error {
	return &FormatError{indexPath, 0, fmt.Sprintf("tensor %q", tensor), fmt.Sprintf(format, args...)}
}

// add opens one file and takes in its tensors.
func (f *Folder) add(path string) error {
	file, err := Open(path)
	if err != nil {
		return err
	}
	f.Files = append(f.Files, file)
	for _, t := range file.Tensors() {
		f.tensors = append(f.tensors, t)
		f.index[t.Name] = t
	}
	return nil
}

// readIndex gives the file of each tensor.
func readIndex(path string) (map[string]string, error) {
	text, err := input.ReadFile(path, MaxHeader)
	if errors.Is(err, input.ErrTooLarge) {
		return nil, &FormatError{path, 0, "index", err.Error()}
	}
	if err != nil {
		return nil, err
	}
	return parseIndex(path, text)
}

func parseIndex(path string, text []byte) (map[string]string, error) {
	j := newJSONReader(path, 0, text)
	if err := j.validUTF8("index"); err != nil {
		return nil, err
	}
	var weightMap map[string]string
	err := j.object("index", func(key string) error {
		if key != "weight_map" {
			return j.skip("index")
		}
		weightMap = map[string]string{}
		return j.object("weight_map", func(tensor string) (err error) {
			weightMap[tensor], err = j.str("weight_map")
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	if weightMap == nil {
		return nil, j.errorf("index", "expected a weight_map, found none")
	}
	return weightMap, j.end("index")
}

// Tensors lists the tensors of all files. The slice must not be changed.
func (f *Folder) Tensors() []*Tensor { return f.tensors }

// Tensor finds a tensor by name.
func (f *Folder) Tensor(name string) (*Tensor, bool) {
	t, ok := f.index[name]
	return t, ok
}

// Unchanged fails with [input.ErrChanged] if one of the files is not what it was when it
// was opened.
func (f *Folder) Unchanged() error {
	for _, file := range f.Files {
		if err := file.Unchanged(); err != nil {
			return err
		}
	}
	return nil
}

// Close closes all files.
func (f *Folder) Close() error {
	var errs []error
	for _, file := range f.Files {
		errs = append(errs, file.Close())
	}
	return errors.Join(errs...)
}
