package ollama

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"qtool/internal/input"
	"qtool/internal/printable"
)

// Model is a model of a store. Its blobs need not be there.
type Model struct {
	Name     Name
	Store    Store
	Manifest *Manifest
	Config   Config
	Digest   string    // of the manifest, in hexadecimal: what Ollama calls the model's ID
	Modified time.Time // of the manifest

	config []byte // as it is in the store
}

// Find finds a model by name in the first of stores that has it. Letters match in either
// case, exact ones first.
func Find(stores []Store, name Name) (*Model, error) {
	var looked []string
	var hidden error
	for _, s := range stores {
		path, err := s.find(name)
		switch {
		case err == nil && path != "":
			return s.open(path, name)
		case unreadable(err):
			hidden = errors.Join(hidden, s.explain(err))
		case err != nil:
			return nil, fmt.Errorf("%s: %w", s.Dir, err)
		}
		looked = append(looked, s.Dir)
	}
	where := "this machine has no store of Ollama that can be seen; OLLAMA_MODELS names one that lies elsewhere"
	if len(looked) > 0 {
		where = "looked in " + strings.Join(looked, ", ")
	}
	err := fmt.Errorf("%w %s: %s; get it with: ollama pull %[2]s", ErrNotFound, name, where)
	if hidden != nil {
		err = fmt.Errorf("%w %s: %s; it may be where this user cannot look: %w", ErrNotFound, name, where, hidden)
	}
	return nil, err
}

// explain adds the ways out to the error about a store that this user cannot read.
func (s Store) explain(err error) error {
	return fmt.Errorf("%w; the store %s is %s: join its group (sudo usermod -aG ollama $USER, then log in again), "+
		"or run this command with sudo, or have its models copied and name the copy in OLLAMA_MODELS", err, s.Dir, s.Owner)
}

// find is the path of a model's manifest, "" if there is none.
func (s Store) find(name Name) (string, error) {
	path := filepath.Join(s.manifests(), name.path())
	info, err := os.Stat(path)
	if err == nil && info.Mode().IsRegular() {
		return path, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, notFolder) {
		return "", err
	}
	return findFolded(s.manifests(), name.fields())
}

// findFolded finds names below dir that differ from fields in the case of letters alone.
func findFolded(dir string, fields [4]string) (string, error) {
	dirs := []string{dir}
	for level, field := range fields {
		var next []string
		for _, dir := range dirs {
			entries, err := os.ReadDir(dir)
			if errors.Is(err, fs.ErrNotExist) || errors.Is(err, notFolder) {
				continue
			}
			if err != nil {
				return "", err
			}
			for _, e := range entries {
				if strings.EqualFold(e.Name(), field) && e.IsDir() == (level < len(fields)-1) {
					next = append(next, filepath.Join(dir, e.Name()))
				}
			}
		}
		dirs = next
	}
	if len(dirs) == 0 {
		return "", nil
	}
	return slices.Min(dirs), nil
}

// open reads the manifest at path and the configuration that it names.
func (s Store) open(path string, name Name) (*Model, error) {
	b, err := input.ReadFile(path, maxManifest)
	if unreadable(err) {
		err = s.explain(err)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the manifest of %s: %w", name, err)
	}
	m := &Model{Name: name, Store: s}
	if m.Manifest, err = parseManifest(b); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	sum := sha256.Sum256(b)
	m.Digest = hex.EncodeToString(sum[:])
	if info, err := os.Stat(path); err == nil {
		m.Modified = info.ModTime()
	}
	if m.config, err = m.read(&m.Manifest.Config, maxManifest); err != nil {
		return nil, fmt.Errorf("the configuration of %s: %w", name, err)
	}
	if m.Config, err = parseConfig(m.config); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return m, nil
}

// path is where a layer's blob is, if that is whole.
func (m *Model) path(l *Layer) (string, error) {
	path, err := m.Store.blob(l.Digest)
	if err != nil {
		return "", err
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("%w: its %s is missing: there is no file %s; get it again with: ollama pull %s", ErrInvalid, l.what(), path, m.Name)
	case unreadable(err):
		return "", m.Store.explain(err)
	case err != nil:
		return "", err
	}
	if err := input.Regular(path, info); err != nil {
		return "", err
	}
	if info.Size() != l.Size {
		return "", fmt.Errorf("%w: its %s has another length than the manifest says: %s has %d bytes, expected %d; get it again with: ollama pull %s",
			ErrInvalid, l.what(), path, info.Size(), l.Size, m.Name)
	}
	return path, nil
}

// what names a layer in errors.
func (l *Layer) what() string {
	if kind := l.kind(); kind != "" {
		return printable.Text(kind) + " layer"
	}
	return "configuration"
}

// read is the content of a small blob.
func (m *Model) read(l *Layer, limit int64) ([]byte, error) {
	path, err := m.path(l)
	if err != nil {
		return nil, err
	}
	b, err := input.ReadFile(path, limit)
	if unreadable(err) {
		err = m.Store.explain(err)
	}
	return b, err
}

// Listed is a model of a list, or a manifest that cannot be read.
type Listed struct {
	Name  Name
	Store Store
	Model *Model // nil if the manifest cannot be read
	Fault error  // why the model cannot be opened; nil if it can
}

// List lists the models of a store by name. Files that are no manifests by their place are
// passed over.
func List(s Store) (list []Listed, err error) {
	var walk func(dir string, fields []string) error
	walk = func(dir string, fields []string) error {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, e := range entries {
			path, below := filepath.Join(dir, e.Name()), append(slices.Clone(fields), e.Name())
			switch last := len(below) == nameFields; {
			case e.IsDir() && !last:
				if err := walk(path, below); err != nil {
					return err
				}
			case !e.IsDir() && last:
				// A file with another name, such as .DS_Store, is none of Ollama's.
				if name, err := ParseName(strings.Join(below[:3], "/") + ":" + below[3]); err == nil {
					list = append(list, s.listed(path, name))
				}
			}
		}
		return nil
	}
	err = walk(s.manifests(), nil)
	if unreadable(err) {
		err = s.explain(err)
	}
	slices.SortFunc(list, func(a, b Listed) int { return a.Name.Compare(b.Name) })
	return list, err
}

func (s Store) listed(path string, name Name) Listed {
	l := Listed{Name: name, Store: s}
	if l.Model, l.Fault = s.open(path, name); l.Fault == nil {
		_, l.Fault = l.Model.Files()
	}
	return l
}
