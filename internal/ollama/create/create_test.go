package create

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"qtool/fixtures"
	"qtool/gguf"
	"qtool/internal/adapt"
	"qtool/internal/model"
	"qtool/internal/ollama"
	"qtool/internal/ollama/ollamatest"
	"qtool/internal/ollama/server"
	"qtool/internal/usage"
)

// scene is a machine with an Ollama: a store, a server, a base as a file and in the store,
// and an adapter for it.
type scene struct {
	fake          *ollamatest.Server
	client        *server.Client
	base, adapter string
	notes         []string
}

func newScene(t *testing.T, change func(*ollamatest.Server)) *scene {
	t.Helper()
	dir := t.TempDir()
	s := &scene{base: filepath.Join(dir, "base.gguf"), adapter: filepath.Join(dir, "a.gguf")}
	check(t, gguf.WriteFile(t.Context(), s.base, fixtures.TinyLlama(1, fixtures.Shape{Untied: true})))
	s.adapter = writeAdapter(t, filepath.Join(dir, "a.gguf"), 1)
	store := ollama.Store{Dir: filepath.Join(dir, "models"), Owner: "test"}
	t.Setenv("OLLAMA_MODELS", store.Dir)
	addModel(t, store, "st:base", s.base, `{"model_format":"gguf","model_family":"llama","renderer":"r","parser":"p"}`)
	s.fake = &ollamatest.Server{Store: store, Version: "0.33.1"}
	if change != nil {
		change(s.fake)
	}
	h := s.fake.Start()
	t.Cleanup(func() {
		h.Close()
		if f := s.fake.Faults(); f != nil {
			t.Error(f)
		}
	})
	u, err := url.Parse(h.URL)
	check(t, err)
	s.client = server.New(u)
	return s
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// writeAdapter writes an adapter for the base.
func writeAdapter(t *testing.T, path string, seed uint64) string {
	t.Helper()
	d, err := model.Load(fixtures.TinyLlama(1, fixtures.Shape{Untied: true}), model.Options{})
	check(t, err)
	a, err := adapt.New(d, adapt.Config{Rank: 2, Alpha: 4, Seed: seed})
	check(t, err)
	for _, p := range a.Pairs {
		for i := range p.B.Data {
			p.B.Data[i] = float32(i%5) - 2
		}
	}
	check(t, a.WriteFile(context.Background(), path))
	return path
}

// addModel puts a model with texts into a store.
func addModel(t *testing.T, s ollama.Store, name, path, config string) {
	t.Helper()
	n, err := ollama.ParseName(name)
	check(t, err)
	digest, size, err := ollama.Digest(t.Context(), path, nil)
	check(t, err)
	l, err := s.AddFile(t.Context(), ollama.KindModel, path, digest, size, nil)
	check(t, err)
	layers := []ollama.Layer{l}
	for _, text := range [][2]string{{ollama.KindTemplate, "{{ .Prompt }}"}, {ollama.KindSystem, "Old."}, {ollama.KindLicense, "MIT"},
		{ollama.KindParams, `{"stop":["</s>"],"temperature":1}`}} {
		l, err := s.AddText(text[0], []byte(text[1]))
		check(t, err)
		layers = append(layers, l)
	}
	c, err := s.AddConfig([]byte(config))
	check(t, err)
	check(t, s.WriteManifest(n, c, layers))
}

func (s *scene) job(t *testing.T, base string, via Via, adapters ...string) *Job {
	t.Helper()
	n, err := ollama.ParseName("me/x")
	check(t, err)
	return &Job{Name: n, Model: base, Adapters: adapters, Via: via, Observer: Observer{Note: func(text string) { s.notes = append(s.notes, text) }}}
}

// made is the model that came of a job.
func (s *scene) made(t *testing.T) (*ollama.Model, *ollama.Files, *ollama.Texts) {
	t.Helper()
	n, _ := ollama.ParseName("me/x")
	m, err := ollama.Find([]ollama.Store{s.fake.Store}, n)
	check(t, err)
	f, err := m.Files()
	check(t, err)
	texts, err := m.Texts()
	check(t, err)
	return m, f, texts
}

func same(t *testing.T, a, b string) bool {
	t.Helper()
	x, err := os.ReadFile(a)
	check(t, err)
	y, err := os.ReadFile(b)
	check(t, err)
	return string(x) == string(y)
}

func (s *scene) uploads() (n int) {
	for _, c := range s.fake.Calls() {
		if strings.HasPrefix(c, "POST /api/blobs/") {
			n++
		}
	}
	return n
}

// merged writes something that can be told from the base.
func merged(_ context.Context, base string, adapters []string, out string) error {
	m := fixtures.TinyLlama(7, fixtures.Shape{Untied: true})
	m.Metadata().Set("general.name", fmt.Sprint("merged of ", filepath.Base(base), len(adapters)))
	return gguf.WriteFile(context.Background(), out, m)
}

func TestAnAdapterIsAddedToABaseThatTheServerHas(t *testing.T) {
	s := newScene(t, nil)
	for i := range 2 { // the second time nothing is sent
		r, err := s.job(t, "ollama:ST:Base", Auto, s.adapter).Run(t.Context(), s.client)
		check(t, err)
		if r.Via != Adapter || r.Version != "0.33.1" || r.Replaced != (i == 1) || s.uploads() != 1 {
			t.Errorf("%+v, %d uploads", r, s.uploads())
		}
	}
	_, f, _ := s.made(t)
	if len(f.Adapters) != 1 || !same(t, f.Adapters[0], s.adapter) || !same(t, f.Weights, s.base) {
		t.Error(f)
	}
}

func TestABaseThatTheServerLacksIsSentWithAllThatItHas(t *testing.T) {
	s := newScene(t, nil)
	j := s.job(t, "ollama:st:base", Auto, s.adapter)
	j.System, j.Licenses, j.Parameters = "New.", []string{"Apache"}, map[string]any{"temperature": 0.5}
	// Another machine's server.
	elsewhere := s.fake.Store
	s.fake.Store = ollama.Store{Dir: filepath.Join(t.TempDir(), "models")}
	_, err := j.Run(t.Context(), s.client)
	check(t, err)
	m, f, texts := s.made(t)
	if len(f.Adapters) != 1 || !same(t, f.Weights, s.base) || !strings.HasPrefix(f.Weights, s.fake.Store.Dir) || elsewhere.Dir == s.fake.Store.Dir {
		t.Error(f)
	}
	var params map[string]any
	check(t, json.Unmarshal(texts.Params, &params))
	if texts.Template != "{{ .Prompt }}" || texts.System != "New." || !slices.Equal(texts.Licenses, []string{"MIT\nApache"}) ||
		params["temperature"] != 0.5 || params["stop"] == nil || m.Config.Renderer != "r" || m.Config.Parser != "p" {
		t.Errorf("%+v %s %+v", texts, texts.Params, m.Config)
	}
	if len(s.notes) != 1 || !strings.Contains(s.notes[0], "gets the one of this machine") {
		t.Error(s.notes)
	}
}

func TestAFileIsSentAndMadeAModelOf(t *testing.T) {
	s := newScene(t, nil)
	r, err := s.job(t, s.base, Auto).Run(t.Context(), s.client)
	check(t, err)
	_, f, _ := s.made(t)
	if r.Via != Auto || !same(t, f.Weights, s.base) || s.uploads() != 0 { // the store has its bytes
		t.Errorf("%+v %+v %d", r, f, s.uploads())
	}
}

// A base whose store this user cannot read, or that is on another machine only, is known to the server.
func TestABaseOfTheServerAloneIsTaken(t *testing.T) {
	s := newScene(t, nil)
	t.Setenv("OLLAMA_MODELS", filepath.Join(t.TempDir(), "none"))
	_, err := s.job(t, "ollama:st:base", Auto, s.adapter).Run(t.Context(), s.client)
	check(t, err)
	if _, f, _ := s.made(t); len(f.Adapters) != 1 || len(s.notes) != 1 || !strings.Contains(s.notes[0], "the server has it") {
		t.Error(f, s.notes)
	}
	if _, err := s.job(t, "ollama:st:other", Auto, s.adapter).Run(t.Context(), s.client); !errors.Is(err, ollama.ErrNotFound) {
		t.Error(err)
	}
}

// What a server does with adapters decides the way, also where it does not say so.
func TestAServerThatTakesNoAdaptersGetsAMergedModel(t *testing.T) {
	for name, change := range map[string]func(*ollamatest.Server){
		"refuses":     func(s *ollamatest.Server) { s.Adapters = ollamatest.Refuse },
		"says not":    func(s *ollamatest.Server) { s.Adapters = ollamatest.Ignore },
		"new version": func(s *ollamatest.Server) { s.Version, s.Adapters = "0.34.1", ollamatest.Refuse },
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, change)
			j := s.job(t, "ollama:st:base", Auto, s.adapter)
			j.Merge = merged
			r, err := j.Run(t.Context(), s.client)
			check(t, err)
			_, f, texts := s.made(t)
			m, err := gguf.Open(f.Weights)
			check(t, err)
			defer m.Close()
			if name, _ := m.Metadata().Str("general.name"); r.Via != Merge || name != "merged of ollama:st:base1" || f.Adapters != nil || texts.Template != "{{ .Prompt }}" {
				t.Errorf("%+v %s %v %+v", r, name, f.Adapters, texts)
			}
			if tried := slices.Contains(s.fake.Calls()[:3], "POST /api/create"); tried {
				t.Error(s.fake.Calls())
			}
			if left, err := filepath.Glob(filepath.Join(filepath.Dir(s.adapter), ".*")); err != nil || left != nil {
				t.Error("left behind:", left, err)
			}
		})
	}
}

func TestWithoutMergingTheWayOutIsNamed(t *testing.T) {
	s := newScene(t, func(s *ollamatest.Server) { s.Adapters = ollamatest.Refuse })
	_, err := s.job(t, "ollama:st:base", Auto, s.adapter).Run(t.Context(), s.client)
	if err == nil || !strings.Contains(err.Error(), "adapters are no longer supported") || !strings.Contains(err.Error(), "--via store") {
		t.Error(err)
	}
	s = newScene(t, func(s *ollamatest.Server) { s.Adapters = ollamatest.Ignore })
	_, err = s.job(t, "ollama:st:base", Adapter, s.adapter).Run(t.Context(), s.client)
	if !errors.Is(err, ErrAdapterLost) || !strings.Contains(err.Error(), "ollama rm me/x:latest") {
		t.Error(err)
	}
}

// An error that is not about adapters does not lead to another way.
func TestOtherErrorsAreNoReasonToMerge(t *testing.T) {
	s := newScene(t, func(s *ollamatest.Server) { s.FailBlobs = true })
	j := s.job(t, "ollama:st:base", Auto, s.adapter)
	j.Merge = func(context.Context, string, []string, string) error { t.Error("merged"); return nil }
	if _, err := j.Run(t.Context(), s.client); err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Error(err)
	}
}

func TestSeveralAdaptersAreMergedOrStored(t *testing.T) {
	s := newScene(t, nil)
	second := writeAdapter(t, filepath.Join(t.TempDir(), "b.gguf"), 2)
	j := s.job(t, "ollama:st:base", Auto, s.adapter, second)
	if _, err := j.Run(t.Context(), s.client); err == nil || !strings.Contains(err.Error(), "takes one adapter") {
		t.Error(err)
	}
	j.Merge = merged
	if r, err := j.Run(t.Context(), s.client); err != nil || r.Via != Merge {
		t.Error(r, err)
	}
	if _, err := s.job(t, s.base, Adapter, s.adapter, second).Run(t.Context(), s.client); !errors.Is(err, usage.Err) {
		t.Error(err)
	}
	if _, err := s.job(t, s.base, Store, s.adapter, second).Run(t.Context(), nil); err != nil {
		t.Error(err)
	}
	if _, f, _ := s.made(t); len(f.Adapters) != 2 {
		t.Error(f)
	}
}

func TestAModelIsWrittenIntoTheStore(t *testing.T) {
	s := newScene(t, nil)
	j := s.job(t, "ollama:st:base", Store, s.adapter)
	j.System, j.Licenses, j.Parameters = "New.", []string{"Apache"}, map[string]any{"stop": []string{"END"}}
	r, err := j.Run(t.Context(), nil)
	check(t, err)
	m, f, texts := s.made(t)
	if r.Via != Store || r.Store != s.fake.Store.Dir || r.Replaced || !same(t, f.Adapters[0], s.adapter) || !same(t, f.Weights, s.base) {
		t.Errorf("%+v %+v", r, f)
	}
	if texts.System != "New." || texts.Template != "{{ .Prompt }}" || !slices.Equal(texts.Licenses, []string{"MIT", "Apache"}) ||
		string(texts.Params) != `{"stop":["END"],"temperature":1}` || m.Config.Renderer != "r" {
		t.Errorf("%+v %s %+v", texts, texts.Params, m.Config)
	}
	// The server sees it, and the base is what it was.
	shown, err := s.client.Show(t.Context(), "me/x")
	check(t, err)
	if !shown.HasAdapter() {
		t.Error(shown)
	}
	if r, err = s.job(t, s.base, Store).Run(t.Context(), nil); err != nil || !r.Replaced {
		t.Error(r, err)
	}
	if m, _, _ = s.made(t); m.Config.Family != "llama" || m.Config.Format != "gguf" || m.Config.FileType != "F32" || m.Config.Parameters == "" {
		t.Errorf("%+v", m.Config)
	}
}

func TestWhatOllamaCannotRunIsRefusedBeforeAnythingIsSent(t *testing.T) {
	s := newScene(t, nil)
	dir := t.TempDir()
	write := func(name string, m gguf.Model) string {
		path := filepath.Join(dir, name)
		check(t, gguf.WriteFile(t.Context(), path, m))
		return path
	}
	other := write("other.gguf", fixtures.TinyFamily(1, "qwen2"))
	small := write("small.gguf", fixtures.TinyLlama(1, fixtures.Shape{Dim: 16, Heads: 2, KVHeads: 1}))
	ternary := fixtures.TinyLlama(1, fixtures.Shape{Dim: 256, FF: 256, Layers: 1})
	for _, tensor := range ternary.Tensors() {
		if tensor.Name == "blk.0.ffn_up.weight" {
			tensor.Type = gguf.TQ1_0
			tensor.Data = gguf.Memory(make([]byte, tensor.Size()))
		}
	}
	for says, c := range map[string]struct {
		base     string
		adapters []string
		kind     error
	}{
		"made for architecture": {other, []string{s.adapter}, adapt.ErrMismatch},
		"has shape":             {small, []string{s.adapter}, adapt.ErrMismatch},
		"type TQ1_0":            {write("t.gguf", ternary), nil, ollama.ErrUnsupported},
		"is a folder":           {dir, nil, usage.Err},
		"general.type":          {s.base, []string{s.base}, adapt.ErrInvalid},
		"not a model":           {s.adapter, nil, model.ErrInvalid},
		"there is no file":      {s.base, []string{"none.gguf"}, nil},
		"--model is missing":    {"", nil, usage.Err},
	} {
		_, err := s.job(t, c.base, Auto, c.adapters...).Run(t.Context(), s.client)
		if err == nil || c.kind != nil && !errors.Is(err, c.kind) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", says, err)
		}
	}
	if calls := s.fake.Calls(); calls != nil {
		t.Error(calls)
	}
}

func TestVersionsThatTakeNoAdapters(t *testing.T) {
	for version, want := range map[string]bool{
		"0.33.9": false, "0.34.0": false, "0.34.1": true, "v0.34.1": true, "0.34.1-rc2": true, "0.35.0": true, "1.0.0": true, "0.0.0": false, "": false, "x": false, "0.34": false,
	} {
		if got := dropsAdapters(version); got != want {
			t.Errorf("%q: %v", version, got)
		}
	}
}

func TestParametersAreReadByTheirKinds(t *testing.T) {
	got, err := ParseParameters([]string{"stop=a=b", "stop=c", "temperature=0.5", "num_ctx=4096", "use_mmap=false"})
	check(t, err)
	b, err := json.Marshal(got)
	check(t, err)
	if string(b) != `{"num_ctx":4096,"stop":["a=b","c"],"temperature":0.5,"use_mmap":false}` {
		t.Error(string(b))
	}
	for _, p := range [][]string{{"temperature"}, {"temperatur=1"}, {"top_k=x"}, {"top_k=1.5"}, {"top_p=nan"}, {"top_p=inf"}, {"use_mmap=maybe"}, {"seed=1", "seed=2"}, {"=1"}, {""}} {
		if _, err := ParseParameters(p); !errors.Is(err, usage.Err) {
			t.Error(p, err)
		}
	}
}

func TestAModelfileSaysTheSame(t *testing.T) {
	s := newScene(t, nil)
	j := s.job(t, "ollama:st:base", Auto, s.adapter)
	j.System, j.Template, j.Licenses, j.Parameters = "Be\nkind.", "{{ .Prompt }}", []string{"MIT"}, map[string]any{"stop": []string{"a", "b c"}, "seed": 7}
	got, err := j.Modelfile()
	check(t, err)
	want := "FROM st:base\nADAPTER " + s.adapter + `
PARAMETER seed 7
PARAMETER stop """a"""
PARAMETER stop """b c"""
TEMPLATE """{{ .Prompt }}"""
SYSTEM """Be
kind."""
LICENSE """MIT"""
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	for _, text := range []string{`a """ b`, `ends with "`} {
		j.System = text
		if _, err := j.Modelfile(); !errors.Is(err, usage.Err) {
			t.Error(text, err)
		}
	}
}
