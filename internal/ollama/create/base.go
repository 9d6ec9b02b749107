package create

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"qtool/gguf"
	"qtool/internal/adapt"
	"qtool/internal/arch"
	"qtool/internal/model"
	"qtool/internal/ollama"
	"qtool/internal/printable"
	"qtool/internal/shell"
	"qtool/internal/source"
	"qtool/internal/usage"
)

// base is what a model is made of.
type base struct {
	name     string   // as the user gives it
	files    []string // GGUF files: one, or the shards of a model
	arch     string   // as llama.cpp knows it
	size     int      // parameters
	fileType string   // as Ollama shows it

	// Of a model that Ollama keeps.
	stored  *ollama.Model
	texts   *ollama.Texts
	missing error // why it could not be opened here; the server may have it all the same
}

// openBase looks at the base and at whether adapters fit it; only headers are read. A
// model that only the server may be able to open is no error yet.
func (j *Job) openBase() (*base, error) {
	b := &base{name: j.Model, texts: new(ollama.Texts)}
	if j.Model == source.Embedded {
		return nil, usage.Errorf("the embedded model is no file, and a Modelfile names one: write it first, with qtool quantize --type COPY embedded village.gguf")
	}
	if !source.IsOllama(j.Model) {
		if err := source.Found("--model: ", j.Model); err != nil {
			return nil, err
		}
		if info, err := os.Stat(j.Model); err == nil && info.IsDir() {
			return nil, usage.Errorf("%s is a folder, and Ollama takes GGUF: write one first, with: %s", j.Model, shell.Line("qtool", "quantize", shell.Path(j.Model), shell.Path(filepath.Base(j.Model)+".gguf")))
		}
		return b, j.readBase(b, j.Model)
	}
	m, files, err := ollama.Resolve(j.Model)
	if errors.Is(err, os.ErrPermission) || errors.Is(err, ollama.ErrNotFound) {
		b.missing = err
		return b, nil
	}
	if err != nil {
		return nil, err
	}
	if b.texts, err = m.Texts(); err != nil {
		return nil, err
	}
	b.stored = m
	return b, j.readBase(b, files.Weights)
}

// CheckBase finds out whether a model of Ollama can be made of the base at all.
func (j *Job) CheckBase() error {
	if j.Model == source.Embedded {
		return nil
	}
	without := *j
	without.Adapters = nil
	b, err := without.openBase()
	if err != nil {
		return err
	}
	return b.missing
}

// readBase reads the header of the base's GGUF file, and compares adapters with it.
func (j *Job) readBase(b *base, path string) error {
	f, err := gguf.Open(path, gguf.WithoutData())
	if err != nil {
		return fmt.Errorf("the base %s: %w", b.name, err)
	}
	defer f.Close()
	b.files = f.Paths()
	if kind, _ := f.Metadata().Str("general.type"); kind == "adapter" || kind == "imatrix" || kind == "mmproj" {
		return fmt.Errorf("the base %s: %w: this file is of general.type %q, not a model", b.name, model.ErrInvalid, kind)
	}
	m, _, err := ollama.Translate(f)
	if err == nil {
		b.arch, err = arch.Name(m)
	}
	if err != nil {
		return fmt.Errorf("the base %s: %w", b.name, err)
	}
	counts := map[gguf.Type]int{}
	for _, t := range m.Tensors() {
		b.size += t.Elements()
		if counts[t.Type] += t.Elements(); slices.Contains(unread, t.Type) {
			return fmt.Errorf("the base %s: %w: its tensor %s is of type %v, which Ollama does not read; quantize to another type", b.name,
				ollama.ErrUnsupported, printable.Quote(t.Name), t.Type)
		}
	}
	b.fileType = mostOf(counts)
	return j.checkAdapters(b, m)
}

// unread are the types that Ollama's reader of GGUF rejects.
var unread = []gguf.Type{gguf.TQ1_0, gguf.TQ2_0, gguf.Q2_0}

// mostOf is the type of most elements.
func mostOf(counts map[gguf.Type]int) string {
	most, name := -1, "unknown"
	for t, n := range counts {
		if n > most || n == most && t.String() < name {
			most, name = n, t.String()
		}
	}
	return name
}

// checkAdapters finds adapters that would end Ollama's llama-server when it loads them:
// Ollama itself looks at none when it makes a model.
func (j *Job) checkAdapters(b *base, m gguf.Model) error {
	if len(j.Adapters) == 0 {
		return nil
	}
	decoder, err := model.Load(m, model.Options{Shapes: true})
	if err != nil {
		j.Observer.note("%s cannot be compared with its adapters before it runs: %v", b.name, err)
	}
	for _, path := range j.Adapters {
		a, err := j.openAdapter(path)
		if err != nil {
			return err
		}
		switch {
		case decoder != nil:
			err = a.Attach(decoder)
		case a.Architecture != b.arch:
			err = fmt.Errorf("%w: it was made for architecture %q, the base is %q", adapt.ErrMismatch, a.Architecture, b.arch)
		}
		if err != nil {
			return fmt.Errorf("adapter %s on %s: %w", path, b.name, err)
		}
	}
	return nil
}

// openAdapter reads an adapter that is to be used with a running Ollama.
func (j *Job) openAdapter(path string) (*adapt.Adapter, error) {
	if err := source.Found("--adapter: ", path); err != nil {
		return nil, err
	}
	a, err := adapt.Open(path)
	if err != nil {
		return nil, fmt.Errorf("--adapter: %w", err)
	}
	if a.MergeOnly && j.Via != Merge && (j.Via != Auto || j.Merge == nil) {
		return nil, fmt.Errorf("--adapter: %s: %w: it has pairs that llama.cpp passes by, so that it takes effect only once it is merged into its base", path, adapt.ErrUnsupported)
	}
	if a.Extra != nil && a.Extra.Has("tokenizer.chat_template") {
		j.Observer.note("%s holds a chat template, from which Ollama may guess another one than the base has; look at the result with: ollama show --template %s", path, j.Name)
	}
	return a, nil
}

// blobNames are the names under which the files of the base are sent.
func (b *base) blobNames() []string {
	if b.stored != nil {
		return []string{"model.gguf"}
	}
	var names []string
	for _, f := range b.files {
		name := filepath.Base(f)
		if !strings.HasSuffix(name, ".gguf") {
			name += ".gguf"
		}
		names = append(names, name)
	}
	return names
}
