package ollama

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"qtool/internal/atomicfile"
	"qtool/internal/input"
	"qtool/internal/outputs"
)

// Digest reads a file to its end and returns what Ollama calls it. progress, unless nil,
// gets the bytes that were read, time and again.
func Digest(ctx context.Context, path string, progress func(n int64)) (digest string, size int64, err error) {
	f, err := input.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, &counted{ctx, f, progress})
	if err == nil {
		err = f.Unchanged()
	}
	if err != nil {
		return "", 0, fmt.Errorf("reading %s: %w", path, err)
	}
	return "sha256:" + hex.EncodeToString(sum.Sum(nil)), n, nil
}

// counted reads from r until ctx ends.
type counted struct {
	ctx      context.Context
	r        io.Reader
	progress func(n int64) // may be nil
}

func (c *counted) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := c.r.Read(p)
	if c.progress != nil {
		c.progress(int64(n))
	}
	return n, err
}

// AddFile puts a copy of the file at path into the store, unless it is there. The digest
// and size are those of [Digest]; a file that has others by now is an error. The blob
// appears whole or not at all.
func (s Store) AddFile(ctx context.Context, kind, path, digest string, size int64, progress func(n int64)) (Layer, error) {
	f, err := input.Open(path)
	if err != nil {
		return Layer{}, err
	}
	defer f.Close()
	l, err := s.add(&counted{ctx, f, progress}, digest, size)
	if err != nil {
		return Layer{}, fmt.Errorf("copying %s into the store %s: %w", path, s.Dir, err)
	}
	l.MediaType, l.From = typeImage+kind, filepath.Base(path)
	return l, nil
}

// AddText puts a text into the store.
func (s Store) AddText(kind string, b []byte) (Layer, error) { return s.addBytes(typeImage+kind, b) }

// AddConfig puts a configuration into the store.
func (s Store) AddConfig(b []byte) (Layer, error) { return s.addBytes(typeConfig, b) }

func (s Store) addBytes(mediaType string, b []byte) (Layer, error) {
	sum := sha256.Sum256(b)
	l, err := s.add(bytes.NewReader(b), "sha256:"+hex.EncodeToString(sum[:]), int64(len(b)))
	if err != nil {
		return Layer{}, fmt.Errorf("writing into the store %s: %w", s.Dir, err)
	}
	l.MediaType = mediaType
	return l, nil
}

func (s Store) add(r io.Reader, digest string, size int64) (Layer, error) {
	path, err := s.blob(digest)
	if err != nil {
		return Layer{}, err
	}
	l := Layer{Digest: digest, Size: size}
	if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Size() == size {
		return l, nil
	}
	if err := atomicfile.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return Layer{}, err
	}
	f, err := atomicfile.Create(path)
	if err != nil {
		return Layer{}, err
	}
	defer f.Abort()
	if err := f.Reserve(size); err != nil {
		return Layer{}, err
	}
	sum := sha256.New()
	if _, err := io.Copy(io.MultiWriter(f, sum), r); err != nil {
		return Layer{}, err
	}
	if got := "sha256:" + hex.EncodeToString(sum.Sum(nil)); got != digest {
		return Layer{}, fmt.Errorf("%w: its content has the digest %s now and had %s before", input.ErrChanged, got, digest)
	}
	return l, f.Commit()
}

// CheckWritable finds out before the work whether blobs and the manifest of name can be
// written.
func (s Store) CheckWritable(name Name) error {
	for _, dir := range []string{filepath.Join(s.Dir, blobsFolder), filepath.Dir(filepath.Join(s.manifests(), name.path()))} {
		err := atomicfile.CheckMkdirAll(dir)
		if err == nil {
			_, missing := os.Stat(dir)
			if missing != nil {
				continue
			}
			err = outputs.Writable(filepath.Join(dir, "sha256-new"))
		}
		if unreadable(err) {
			err = fmt.Errorf("%w; the store %s is %s: run this command as its user, such as sudo -u ollama, or let the server make the model, without --via store", err, s.Dir, s.Owner)
		}
		if err != nil {
			return fmt.Errorf("the store cannot be written to: %w", err)
		}
	}
	return nil
}

// WriteManifest makes the blobs a model of the given name, in place of one that has the
// name already. A server sees it at once.
func (s Store) WriteManifest(name Name, config Layer, list []Layer) error {
	m := Manifest{SchemaVersion: 2, MediaType: typeManifest, Config: config, Layers: list}
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	path, err := s.find(name)
	if err != nil {
		return err
	}
	if path == "" {
		path = filepath.Join(s.manifests(), name.path())
		if err := atomicfile.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
	}
	f, err := atomicfile.Create(path)
	if err != nil {
		return err
	}
	defer f.Abort()
	if _, err := f.Write(b); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return f.Commit()
}
