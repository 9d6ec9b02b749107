package ollama

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Files are the blobs of a model that can be opened.
type Files struct {
	Weights   string   // a GGUF file
	Adapters  []string // GGUF files too, in the order in which they were added
	Projector string   // "" if images are not read, or by what is in Weights
}

// Resolve finds a model by name on this machine. s may begin with [Scheme].
func Resolve(s string) (*Model, *Files, error) {
	name, err := ParseName(strings.TrimPrefix(s, Scheme))
	if err != nil {
		return nil, nil, err
	}
	m, err := Find(Stores(), name)
	if err != nil {
		return nil, nil, err
	}
	f, err := m.Files()
	if err != nil {
		return nil, nil, fmt.Errorf("%s%s: %w", Scheme, name, err)
	}
	return m, f, nil
}

// Files finds the files of a model, all of which are there and whole as far as their
// lengths tell. What is no GGUF is refused with [ErrUnsupported].
func (m *Model) Files() (*Files, error) {
	switch {
	case m.Config.RemoteHost != "":
		return nil, fmt.Errorf("%w: it runs on %q and has no weights here; take a model that ollama pull brings to this machine", ErrUnsupported, m.Config.RemoteHost)
	case m.Config.Format == "safetensors" || len(m.Manifest.of(kindTensor)) > 0:
		return nil, fmt.Errorf("%w: it is kept as safetensors, in Ollama's own form for MLX; take the GGUF form of this model, or its folder from Hugging Face", ErrUnsupported)
	}
	weights := m.Manifest.of(KindModel)
	if len(weights) == 0 {
		return nil, fmt.Errorf("%w: its manifest lists no weights", ErrInvalid)
	}
	f := new(Files)
	var err error
	if f.Weights, err = m.path(weights[len(weights)-1]); err != nil { // the last counts, as in Ollama
		return nil, err
	}
	for _, l := range m.Manifest.of(KindAdapter) {
		path, err := m.path(l)
		if err != nil {
			return nil, err
		}
		f.Adapters = append(f.Adapters, path)
	}
	for _, l := range m.Manifest.of(kindProjector) {
		if f.Projector, err = m.path(l); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// Adapters is how many adapters the model runs with.
func (m *Model) Adapters() int { return len(m.Manifest.of(KindAdapter)) }

// ConfigJSON is the model's configuration as it is in the store.
func (m *Model) ConfigJSON() []byte { return m.config }

// maxText is the most bytes of a template, system prompt or license.
const maxText = 1 << 20

// Texts are the layers of a model that are text. What is "" or empty it has not.
type Texts struct {
	Template, System string
	Licenses         []string
	Params           []byte // JSON
}

// Texts reads the layers that are text.
func (m *Model) Texts() (*Texts, error) {
	t := new(Texts)
	for _, kind := range []struct {
		name string
		set  func(string)
	}{
		{KindTemplate, func(s string) { t.Template = s }},
		{KindSystem, func(s string) { t.System = s }},
		{KindLicense, func(s string) { t.Licenses = append(t.Licenses, s) }},
		{KindParams, func(s string) { t.Params = []byte(s) }},
	} {
		for _, l := range m.Manifest.of(kind.name) {
			b, err := m.read(l, maxText)
			if err != nil {
				return nil, fmt.Errorf("%s%s: the %s: %w", Scheme, m.Name, l.what(), err)
			}
			if !utf8.Valid(b) {
				return nil, fmt.Errorf("%s%s: %w: the %s is no UTF-8", Scheme, m.Name, ErrInvalid, l.what())
			}
			kind.set(string(b))
		}
	}
	return t, nil
}
