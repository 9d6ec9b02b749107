package create

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"

	"qtool/internal/ollama"
	"qtool/internal/usage"
)

// store writes the model where a server looks for models: first what it is made of, then
// the manifest, so that a server never sees an incomplete one.
func (r *run) store() error {
	b := r.base
	switch {
	case b.missing != nil:
		return b.missing
	case len(b.files) > 1:
		return usage.Errorf("%s has %d shards, and a model in Ollama's store is one file: qtool join makes one of them", b.name, len(b.files))
	}
	s, err := r.target()
	if err != nil {
		return err
	}
	r.report.Store = s.Dir
	if err := s.CheckWritable(r.Name); err != nil {
		return err
	}
	if _, err := ollama.Find([]ollama.Store{s}, r.Name); err == nil {
		r.report.Replaced = true
	}
	layers, config, err := r.weights(s)
	if err != nil {
		return err
	}
	for _, path := range r.Adapters {
		l, err := r.addFile(s, ollama.KindAdapter, path)
		if err != nil {
			return err
		}
		layers = append(layers, l)
	}
	if layers, err = r.addTexts(s, layers); err != nil {
		return err
	}
	c, err := s.AddConfig(config)
	if err != nil {
		return err
	}
	if err := s.WriteManifest(r.Name, c, layers); err != nil {
		return fmt.Errorf("writing the manifest of %s: %w", r.Name, err)
	}
	return nil
}

// target is the store to write to: the base's, or the first of this machine.
func (r *run) target() (ollama.Store, error) {
	if r.base.stored != nil {
		return r.base.stored.Store, nil
	}
	stores := ollama.Stores()
	if len(stores) == 0 {
		return ollama.Store{}, usage.Errorf("no store of Ollama is seen on this machine; name its folder of models in OLLAMA_MODELS")
	}
	return stores[0], nil
}

// weights are the layers that are the base, and the model's configuration.
func (r *run) weights(s ollama.Store) ([]ollama.Layer, []byte, error) {
	b := r.base
	if b.stored != nil {
		return append([]ollama.Layer{}, b.stored.Manifest.Layers...), b.stored.ConfigJSON(), nil
	}
	l, err := r.addFile(s, ollama.KindModel, b.files[0])
	if err != nil {
		return nil, nil, err
	}
	if r.Template == "" {
		r.Observer.note("%s gets no template, so that Ollama makes one of the file's own or passes what is said as it is; --template sets one", r.Name)
	}
	config, err := json.Marshal(struct {
		ollama.Config
		Architecture string `json:"architecture"`
		OS           string `json:"os"`
	}{ollama.Config{Format: "gguf", Family: b.arch, Families: []string{b.arch}, Parameters: shortCount(b.size), FileType: b.fileType}, "amd64", "linux"})
	return []ollama.Layer{l}, config, err
}

// shortCount gives a number of parameters as Ollama does: "293K", "7.6B".
func shortCount(n int) string {
	for _, u := range []struct {
		least int
		name  string
	}{{1e9, "B"}, {1e6, "M"}, {1e3, "K"}} {
		if n >= u.least {
			return fmt.Sprintf("%.3g%s", float64(n)/float64(u.least), u.name)
		}
	}
	return fmt.Sprint(n)
}

// addFile copies a file into the store.
func (r *run) addFile(s ollama.Store, kind, path string) (ollama.Layer, error) {
	blob, err := r.digest(path)
	if err != nil {
		return ollama.Layer{}, err
	}
	bar := r.Observer.begin(blob.Size, "bytes", "copying "+path)
	defer bar.Done()
	var done int64
	return s.AddFile(r.ctx, kind, path, blob.Digest, blob.Size, func(n int64) { done += n; bar.Set(done) })
}

// addTexts adds what the job sets beside weights. As with a server, a template and a system
// prompt replace those of the base, licenses are added, and parameters replace those of
// the same names.
func (r *run) addTexts(s ollama.Store, layers []ollama.Layer) ([]ollama.Layer, error) {
	var params []byte
	if len(r.Parameters) > 0 {
		all, err := mergeParameters(r.base.texts.Params, r.Parameters)
		if err != nil {
			return nil, fmt.Errorf("the parameters of %s: %w", r.base.name, err)
		}
		if params, err = json.Marshal(all); err != nil {
			return nil, err
		}
	}
	type text struct {
		kind    string
		content string
		replace bool
	}
	texts := []text{{ollama.KindTemplate, r.Template, true}, {ollama.KindSystem, r.System, true}, {ollama.KindParams, string(params), true}}
	for _, l := range r.Licenses {
		texts = append(texts, text{ollama.KindLicense, l, false})
	}
	for _, t := range texts {
		if t.content == "" {
			continue
		}
		if t.replace {
			layers = ollama.Without(layers, t.kind)
		}
		l, err := s.AddText(t.kind, []byte(t.content))
		if err != nil {
			return nil, err
		}
		layers = append(layers, l)
	}
	return layers, nil
}

// mergeParameters are the parameters that a base has as JSON, with others in place of
// those of the same names.
func mergeParameters(base []byte, with map[string]any) (map[string]any, error) {
	all := map[string]any{}
	if len(base) > 0 {
		if err := json.Unmarshal(base, &all); err != nil {
			return nil, fmt.Errorf("%w: they are not JSON: %w", ollama.ErrInvalid, err)
		}
		if all == nil {
			all = map[string]any{}
		}
	}
	maps.Copy(all, with)
	return all, nil
}

func sizeOf(path string) (int64, error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
