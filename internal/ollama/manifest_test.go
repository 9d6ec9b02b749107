package ollama

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

const (
	hexDigest = "f40a10bece340d0e0dda4a908a9aa9bd86cc6a9073fdf7f3303b16ea7bed7bf2"
	okConfig  = `"config":{"digest":"sha256:` + hexDigest + `","size":1}`
)

var hostile = []string{
	``, `{`, `null`, `[]`, `{}`, `{"schemaVersion":1}`, `{"schemaVersion":"2"}`, `{"schemaVersion":2}`,
	`{"schemaVersion":2,"config":{"digest":"sha256:../../../../etc/passwd"}}`,
	`{"schemaVersion":2,"config":{"digest":"sha256:` + hexDigest + `","size":-1}}`,
	`{"schemaVersion":2,` + okConfig + `,"layers":7}`,
	`{"schemaVersion":2,` + okConfig + `,"layers":[{}]}`,
	`{"schemaVersion":2,` + okConfig + `,"layers":[{"digest":"sha256:` + strings.Repeat("../", 21) + `x"}]}`,
	`{"schemaVersion":2,` + okConfig + `,"layers":[{"digest":"sha256-` + hexDigest + `"}]}`,
	`{"schemaVersion":2,` + okConfig + `,"layers":[{"digest":"sha512:` + hexDigest + hexDigest + `"}]}`,
	`{"schemaVersion":2,` + okConfig + `,"layers":[{"digest":"sha256:` + hexDigest + `","size":1e99}]}`,
	`{"schemaVersion":2,` + okConfig + `,"layers":[{"digest":"\u001b[31m"}]}`,
}

func TestHostileManifestsAreRefused(t *testing.T) {
	for _, s := range hostile {
		if _, err := parseManifest([]byte(s)); !errors.Is(err, ErrInvalid) || strings.ContainsRune(err.Error(), '\x1b') {
			t.Errorf("%s: %v", s, err)
		}
	}
}

func TestAListOfEmptyLayersTakesNoMemory(t *testing.T) {
	b := []byte(`{"schemaVersion":2,` + okConfig + `,"layers":[` + strings.Repeat("{},", maxManifest/3-100) + `{}]}`)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := parseManifest(b)
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; !errors.Is(err, ErrInvalid) || took > 3*maxManifest {
		t.Error(took, err)
	}
}

// Nothing that a manifest says makes a path outside of the store, nor a panic.
func FuzzManifest(f *testing.F) {
	for _, s := range hostile {
		f.Add([]byte(s), []byte(plainConfig))
	}
	f.Add([]byte(`{"schemaVersion":2,`+okConfig+`,"layers":[{"mediaType":"application/vnd.ollama.image.model","digest":"sha256:`+hexDigest+`","size":1}]}`), []byte(plainConfig))
	f.Add([]byte(`{"schemaVersion":2,`+okConfig+`,"layers":null}`), []byte(`{"model_format":7}`))
	name, _ := ParseName("m")
	f.Fuzz(func(t *testing.T, manifest, config []byte) {
		s := Store{t.TempDir(), "test"}
		path := filepath.Join(s.manifests(), name.path())
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, manifest, 0o666); err != nil {
			t.Fatal(err)
		}
		if m, err := parseManifest(manifest); err == nil { // so that it gets as far as it can
			for _, l := range append(m.Layers, m.Config) {
				blob, err := s.blob(l.Digest)
				if err != nil || filepath.Dir(blob) != filepath.Join(s.Dir, blobsFolder) {
					t.Fatal(blob, err)
				}
				content := []byte("x")
				if l.Digest == m.Config.Digest {
					content = config
				}
				os.MkdirAll(filepath.Dir(blob), 0o777)
				os.WriteFile(blob, content, 0o666)
			}
		}
		list, err := List(s)
		if err != nil || len(list) != 1 {
			t.Fatal(list, err)
		}
		m, err := Find([]Store{s}, name)
		if err != nil {
			return
		}
		if files, err := m.Files(); err == nil && filepath.Dir(files.Weights) != filepath.Join(s.Dir, blobsFolder) {
			t.Error(files)
		}
		m.Texts()
	})
}
