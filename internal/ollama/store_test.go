package ollama

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"qtool/internal/input"
	"qtool/internal/sharedtest"
)

const plainConfig = `{"model_format":"gguf","model_family":"llama","model_type":"293K","file_type":"F32","architecture":"amd64","os":"linux"}`

// layer is a layer to be made.
type layer struct{ kind, content string }

// add makes a model in a store out of plain bytes.
func add(t *testing.T, s Store, name, config string, list ...layer) {
	t.Helper()
	n, err := ParseName(name)
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.AddConfig([]byte(config))
	if err != nil {
		t.Fatal(err)
	}
	var all []Layer
	for _, l := range list {
		one, err := s.AddText(l.kind, []byte(l.content))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, one)
	}
	if err := s.WriteManifest(n, c, all); err != nil {
		t.Fatal(err)
	}
}

func find(t *testing.T, s Store, name string) (*Files, error) {
	t.Helper()
	n, err := ParseName(name)
	if err != nil {
		t.Fatal(err)
	}
	m, err := Find([]Store{s}, n)
	if err != nil {
		return nil, err
	}
	return m.Files()
}

func TestAModelIsFoundWithItsAdapters(t *testing.T) {
	s := Store{t.TempDir(), "test"}
	add(t, s, "Me/St:Lora", plainConfig, layer{KindModel, "first"}, layer{KindTemplate, "{{ .Prompt }}"}, layer{KindModel, "weights"},
		layer{KindAdapter, "one"}, layer{KindAdapter, "two"}, layer{kindProjector, "eyes"})
	for _, name := range []string{"Me/St:Lora", "me/st:lora", "ME/ST:LORA"} {
		f, err := find(t, s, name)
		if err != nil {
			t.Fatal(name, err)
		}
		for path, want := range map[string]string{f.Weights: "weights", f.Adapters[0]: "one", f.Adapters[1]: "two", f.Projector: "eyes"} {
			if b, err := os.ReadFile(path); err != nil || string(b) != want {
				t.Errorf("%s: %q %v, want %q", path, b, err, want)
			}
		}
	}
	// A manifest of the same letters in the other case is another model where files are so.
	if _, err := find(t, s, "me/st"); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "ollama pull me/st:latest") {
		t.Error(err)
	}
}

func TestTheRecordedManifestIsRead(t *testing.T) {
	m, err := parseManifest(sharedtest.Read(t, "golden/ollama/manifest-with-adapter.json"))
	if err != nil {
		t.Fatal(err)
	}
	adapters := m.of(KindAdapter)
	if len(m.of(KindModel)) != 1 || len(adapters) != 1 || adapters[0].Size != 73792 || adapters[0].From != "a.gguf" || m.Size() != 1259397 {
		t.Errorf("%+v", m)
	}
}

func TestWhatIsNoGGUFIsRefused(t *testing.T) {
	s := Store{t.TempDir(), "test"}
	for name, c := range map[string]struct {
		config string
		list   []layer
		kind   error
		says   string
	}{
		"safe":    {`{"model_format":"safetensors"}`, []layer{{KindModel, "x"}}, ErrUnsupported, "safetensors"},
		"tensors": {plainConfig, []layer{{KindModel, "x"}, {kindTensor, "y"}}, ErrUnsupported, "safetensors"},
		"remote":  {`{"model_format":"gguf","remote_host":"https://ollama.com:443"}`, nil, ErrUnsupported, "https://ollama.com:443"},
		"nothing": {plainConfig, []layer{{KindSystem, "x"}}, ErrInvalid, "no weights"},
		"config":  {`[`, []layer{{KindModel, "x"}}, ErrInvalid, "configuration"},
	} {
		add(t, s, name, c.config, c.list...)
		if _, err := find(t, s, name); !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestADamagedStoreIsAnErrorWithAWayOut(t *testing.T) {
	s := Store{t.TempDir(), "test"}
	weights := layer{KindModel, "weights"}
	fresh := func() (path string) {
		add(t, s, "m", plainConfig, weights, layer{KindAdapter, "adapter"})
		f, err := find(t, s, "m")
		if err != nil {
			t.Fatal(err)
		}
		return f.Weights
	}
	if err := os.Truncate(fresh(), 3); err != nil {
		t.Fatal(err)
	}
	if _, err := find(t, s, "m"); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "has 3 bytes, expected 7; get it again with: ollama pull m:latest") {
		t.Error(err)
	}
	path := fresh()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := find(t, s, "m"); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "its model layer is missing") {
		t.Error(err)
	}
	if err := os.Mkdir(path, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := find(t, s, "m"); !errors.Is(err, input.ErrNotRegular) {
		t.Error(err)
	}
}

func TestAStoreOfAnotherUserIsExplained(t *testing.T) {
	s := Store{filepath.Join(t.TempDir(), "models"), "the system service's"}
	err := s.explain(&fs.PathError{Op: "stat", Path: s.Dir, Err: fs.ErrPermission})
	if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "usermod -aG ollama") || !strings.Contains(err.Error(), "the system service's") {
		t.Error(err)
	}
	if runtime.GOOS == "windows" || os.Getuid() == 0 {
		t.Skip("this user may read every folder")
	}
	add(t, s, "m", plainConfig, layer{KindModel, "x"})
	if err := os.Chmod(s.Dir, 0); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(s.Dir, 0o755)
	if _, err := find(t, s, "m"); !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "usermod") {
		t.Error(err)
	}
}

func TestStoresOfEachSystem(t *testing.T) {
	root := t.TempDir()
	make := func(path string) string {
		dir := filepath.Join(root, filepath.FromSlash(path))
		if err := os.MkdirAll(filepath.Join(dir, manifestsFolder), 0o777); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	service, mine, hers := make("usr/share/ollama/.ollama/models"), make("home/me/.ollama/models"), make("home/her/.ollama/models")
	mac, other := make("Users/me/.ollama/models"), make("Users/you/.ollama/models")
	elsewhere := filepath.Join(root, "elsewhere")
	for _, c := range []struct {
		system
		want []string
	}{
		{system{"linux", "", filepath.Join(root, "home", "me"), root}, []string{mine, service, hers}},
		{system{"linux", "", "", root}, []string{service, hers, mine}},
		{system{"darwin", "", filepath.Join(root, "Users", "me"), root}, []string{mac, other}},
		{system{"windows", "", filepath.Join(root, "Users", "me"), root}, []string{mac, other}},
		{system{"linux", elsewhere, filepath.Join(root, "home", "me"), root}, []string{elsewhere}},
	} {
		var got []string
		for _, s := range c.stores() {
			got = append(got, s.Dir)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%+v: %v", c.system, got)
		}
	}
}

func TestAListHasWhatCanBeReadAndWhyNot(t *testing.T) {
	s := Store{t.TempDir(), "test"}
	add(t, s, "b", plainConfig, layer{KindModel, "weights"})
	add(t, s, "me/a:q4", plainConfig, layer{KindModel, "weights"}, layer{KindAdapter, "adapter"})
	add(t, s, "c", `{"model_format":"safetensors"}`, layer{KindModel, "x"})
	broken := filepath.Join(s.manifests(), defaultHost, "library", "a")
	for path, text := range map[string]string{filepath.Join(broken, "latest"): "{", filepath.Join(broken, ".DS_Store"): "", filepath.Join(s.manifests(), "stray"): ""} {
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	list, err := List(s)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range list {
		switch {
		case l.Fault == nil:
			got = append(got, l.Name.String())
		case l.Model == nil:
			got = append(got, l.Name.String()+" unread")
		default:
			got = append(got, l.Name.String()+" refused")
		}
	}
	if want := []string{"a:latest unread", "b:latest", "c:latest refused", "me/a:q4"}; !slices.Equal(got, want) {
		t.Error(got)
	}
}

func TestAFileIsAddedOnceAndOnlyWhole(t *testing.T) {
	s, ctx := Store{t.TempDir(), "test"}, context.Background()
	path := filepath.Join(t.TempDir(), "a.gguf")
	if err := os.WriteFile(path, []byte("an adapter"), 0o600); err != nil {
		t.Fatal(err)
	}
	digest, size, err := Digest(ctx, path, nil)
	if err != nil || size != 10 {
		t.Fatal(size, err)
	}
	for range 2 {
		l, err := s.AddFile(ctx, KindAdapter, path, digest, size, nil)
		if err != nil || l.Digest != digest || l.From != "a.gguf" {
			t.Fatal(l, err)
		}
	}
	blob, _ := s.blob(digest)
	info, err := os.Stat(blob)
	if err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o644 {
		t.Error(info.Mode(), err) // the service, another user, reads it
	}
	if err := os.WriteFile(path, []byte("an Adapter"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(blob); err != nil {
		t.Fatal(err)
	}
	if _, err := s.AddFile(ctx, KindAdapter, path, digest, size, nil); !errors.Is(err, input.ErrChanged) {
		t.Error(err)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := s.AddFile(ended, KindAdapter, path, digest, size, nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if left, err := os.ReadDir(filepath.Dir(blob)); err != nil || len(left) != 0 {
		t.Error(left, err)
	}
}
