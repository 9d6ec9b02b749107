package ollama

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"qtool/internal/printable"
)

// Media types of manifests and their layers.
const (
	typeManifest = "application/vnd.docker.distribution.manifest.v2+json"
	typeConfig   = "application/vnd.docker.container.image.v1+json"
	typeImage    = "application/vnd.ollama.image." // and a kind
)

// Kinds of layers.
const (
	KindModel     = "model"
	KindAdapter   = "adapter"
	KindTemplate  = "template"
	KindSystem    = "system"
	KindParams    = "params"
	KindLicense   = "license"
	kindProjector = "projector"
	kindTensor    = "tensor"
)

// maxManifest is the most bytes of a manifest, and of the configuration beside it.
// Models in safetensors have a layer of some 200 bytes for each tensor.
const maxManifest = 4 << 20

// Manifest lists the blobs that make a model.
type Manifest struct {
	SchemaVersion int    `json:"schemaVersion"`
	MediaType     string `json:"mediaType"`
	Config        Layer  `json:"config"`
	Layers        layers `json:"layers"`
}

// Layer is a blob and what it is for.
type Layer struct {
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"`
	Size      int64  `json:"size"`
	From      string `json:"from,omitempty"`
	Name      string `json:"name,omitempty"`
}

// kind is the media type without what all have.
func (l *Layer) kind() string {
	kind, ours := strings.CutPrefix(l.MediaType, typeImage)
	if !ours {
		return ""
	}
	return kind
}

// layers checks each layer as it is read, so that a list of many empty ones takes no memory.
type layers []Layer

// UnmarshalJSON reads an array of layers, null being an empty one.
func (l *layers) UnmarshalJSON(b []byte) error {
	*l = nil
	if string(b) == "null" {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(b))
	if t, err := d.Token(); err != nil || t != json.Delim('[') {
		return errors.New(`"layers" is no array`)
	}
	for d.More() {
		var layer Layer
		if err := d.Decode(&layer); err != nil {
			return err
		}
		if err := layer.check(); err != nil {
			return fmt.Errorf("layer %d: %w", len(*l), err)
		}
		*l = append(*l, layer)
	}
	return nil
}

func (l *Layer) check() error {
	if _, err := blobName(l.Digest); err != nil {
		return err
	}
	if l.Size < 0 {
		return fmt.Errorf("its size is %d", l.Size)
	}
	return nil
}

// blobName is the file that a digest names, the only way from one to a path.
func blobName(digest string) (string, error) {
	sum, ok := strings.CutPrefix(digest, "sha256:")
	if _, err := hex.DecodeString(sum); !ok || err != nil || len(sum) != 2*sha256.Size {
		return "", fmt.Errorf("the digest is %s, expected sha256: and %d hexadecimal digits", printable.Quote(digest), 2*sha256.Size)
	}
	return "sha256-" + strings.ToLower(sum), nil
}

// parseManifest reads a manifest. Errors match [ErrInvalid].
func parseManifest(b []byte) (*Manifest, error) {
	m := new(Manifest)
	if err := json.Unmarshal(b, m); err != nil {
		return nil, fmt.Errorf("%w: the manifest cannot be read: %s", ErrInvalid, printable.Escape(err.Error()))
	}
	if m.SchemaVersion != 2 {
		return nil, fmt.Errorf("%w: the manifest has schemaVersion %d, expected 2", ErrInvalid, m.SchemaVersion)
	}
	if err := m.Config.check(); err != nil {
		return nil, fmt.Errorf("%w: the manifest's config: %w", ErrInvalid, err)
	}
	return m, nil
}

// of lists the layers of a kind, in order.
func (m *Manifest) of(kind string) (list []*Layer) {
	for i := range m.Layers {
		if m.Layers[i].kind() == kind {
			list = append(list, &m.Layers[i])
		}
	}
	return list
}

// Without is list without the layers of a kind.
func Without(list []Layer, kind string) []Layer {
	return slices.DeleteFunc(list, func(l Layer) bool { return l.kind() == kind })
}

// Size is what all of a model takes.
func (m *Manifest) Size() (n int64) {
	n = m.Config.Size
	for i := range m.Layers {
		n += m.Layers[i].Size
	}
	return n
}

// Config is what Ollama notes about a model beside its layers, as far as it matters here.
type Config struct {
	Format     string   `json:"model_format"`
	Family     string   `json:"model_family"`
	Families   []string `json:"model_families"`
	Parameters string   `json:"model_type"`
	FileType   string   `json:"file_type"`
	Renderer   string   `json:"renderer,omitempty"`
	Parser     string   `json:"parser,omitempty"`
	RemoteHost string   `json:"remote_host,omitempty"`
}

func parseConfig(b []byte) (Config, error) {
	var c Config
	if err := json.Unmarshal(b, &c); err != nil {
		return c, fmt.Errorf("%w: its configuration cannot be read: %s", ErrInvalid, printable.Escape(err.Error()))
	}
	return c, nil
}
