package main

import (
	"cmp"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"qtool/gguf"
	"qtool/internal/budget"
	"qtool/internal/memory"
	"qtool/internal/source"
	"qtool/internal/version"
	"qtool/lora"
)

// mergedAdapter is an adapter as it is named.
type mergedAdapter struct {
	Path   string  `json:"path"`
	Scale  float32 `json:"scale"`
	SHA256 string  `json:"sha256"`
	// Base says how the model at hand is related to that which it was trained on; "" if it does
	// not say.
	Base string `json:"base,omitempty"`

	adapter *lora.Adapter
}

// parseMerged reads ADAPTER[:SCALE] of a command for which a scale of 0 makes no sense.
func parseMerged(command, arg string) (*mergedAdapter, error) {
	a, err := parseScaled(arg)
	if err != nil {
		return nil, err
	}
	if a.scale == 0 {
		return nil, usagef("%s: %q: at scale 0 the adapter changes nothing; leave it out", command, arg)
	}
	return &mergedAdapter{Path: a.path, Scale: a.scale}, nil
}

// openAdapters reads all adapters and makes one of them.
func (m *merge) openAdapters() error {
	var scaled []lora.Scaled
	for _, a := range m.adapters {
		if err := a.open(m.c, m.base); err != nil {
			return err
		}
		scaled = append(scaled, lora.Scaled{Adapter: a.adapter, Strength: a.Scale})
	}
	var err error
	if m.weights, err = lora.Combine(scaled...); err != nil {
		return fmt.Errorf("adapter %s: %w", m.adapterPaths(), err)
	}
	return nil
}

func (m *merge) adapterPaths() string { return adapterPaths(m.adapters) }

func adapterPaths(of []*mergedAdapter) string { return strings.Join(pathsOf(of), ", ") }

// open reads the adapter of a base, which may be nil.
func (a *mergedAdapter) open(c *cli.Context, base gguf.Model) (err error) {
	if a.adapter, err = lora.OpenFor(a.Path, base); err != nil {
		return fmt.Errorf("adapter: %w", err)
	}
	a.SHA256, err = sumOfAdapter(c, a)
	return err
}

// pathsOf are the paths of adapters.
func pathsOf(adapters []*mergedAdapter) (paths []string) {
	for _, a := range adapters {
		paths = append(paths, a.Path)
	}
	return paths
}

// checkMemory refuses adapters that are larger than the memory.
func (m *merge) checkMemory() error {
	return checkAdapterMemory(m.c, m.con, 2, "merge them one after the other, or adapters on fewer experts", pathsOf(m.adapters)...)
}

// checkAdapterMemory refuses adapters that are larger than the memory: they are held as float32,
// with what is made of them so many times.
func checkAdapterMemory(c *cli.Context, con *console, times int64, advice string, paths ...string) error {
	var bytes int64
	for _, path := range paths {
		n, err := lora.Values(path)
		if err != nil {
			return fmt.Errorf("adapter: %w", err)
		}
		bytes += times * 4 * n
	}
	return checkOwnMemory(c, con, bytes, "holding the adapters", advice)
}

// checkOwnMemory refuses what would take more memory than there is.
func checkOwnMemory(c *cli.Context, con *console, bytes int64, of, advice string) error {
	b := budget.New("lora "+c.Command.Name, c.Bool("force"), con.sayText)
	d := budget.Demand{Need: memory.Need{Own: bytes}, Of: of}
	if b.Fits(d) {
		return nil
	}
	return b.TooSmall(d, advice)
}

// sumOfAdapter identifies the tensors of an adapter: as they are in its file, or as what its
// folder becomes.
func sumOfAdapter(c *cli.Context, a *mergedAdapter) (string, error) {
	if form, err := lora.FormOf(a.Path); err != nil || form != lora.GGUF {
		if err != nil {
			return "", fmt.Errorf("adapter: %w", err)
		}
		m, err := a.adapter.Model()
		if err != nil {
			return "", fmt.Errorf("adapter: %w", err)
		}
		id, err := lora.Identify(c.Context, m, nil)
		return id.SHA256, err
	}
	f, err := gguf.Open(a.Path)
	if err != nil {
		return "", fmt.Errorf("adapter: %w", err)
	}
	defer f.Close()
	id, err := lora.Identify(c.Context, f, nil)
	return id.SHA256, err
}

// add makes the sum of base and adapters. The caller closes the source of the weights, which is
// nil without --source.
func (m *merge) add() (unquantized source.Model, err error) {
	if m.sum, err = lora.Add(m.base, m.weights); err != nil {
		return nil, fmt.Errorf("%s on %s: %w", m.adapterPaths(), m.c.String("model"), err)
	}
	if n := len(m.sum.Idle); n > 0 {
		m.con.say("%d pairs are all zero and change nothing: %s", n, abbreviate(m.sum.Idle, 8))
	}
	m.weightsPath = m.c.String("model")
	path := m.c.String("source")
	if path == "" {
		return nil, nil
	}
	m.weightsPath = path
	if unquantized, err = openModel(m.c, path); err == nil {
		if err = m.sum.Use(m.c.Context, unquantized, m.c.Int("threads")); err != nil {
			unquantized.Close()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("--source %s: %w", path, err)
	}
	return unquantized, nil
}

// identify compares the base with those that the adapters were trained on.
func (m *merge) identify() (err error) {
	bar := m.con.progress()
	defer bar.Done()
	var total int64
	for _, t := range m.base.Tensors() {
		total += t.Size()
	}
	bar.Start(total, "bytes", "identifying the base")
	if m.identity, err = lora.Identify(m.c.Context, m.base, bar.Set); err != nil {
		return fmt.Errorf("%s: %w", m.c.String("model"), err)
	}
	for _, a := range m.adapters {
		trained, ok := lora.Recorded(a.adapter.Extra)
		if !ok {
			m.con.detail("%s does not say on which model it was trained", a.Path)
			continue
		}
		switch m.identity.RelationTo(trained) {
		case lora.SameBase:
			a.Base = "same"
		case lora.SameModel:
			a.Base = "other quantization"
			bar.Note("%s was trained on the same model in another quantization, as far as names tell: on %v, and this is %v", a.Path, trained, m.identity)
		case lora.OtherModel:
			a.Base = "other model"
			if !m.c.Bool("force-base") {
				return fmt.Errorf("adapter %s: %w: it was trained on %v, and this is %v; --force-base merges it all the same", a.Path, lora.ErrMismatch, trained, m.identity)
			}
			bar.Note("warning: %s was trained on %v, and this is %v; merged all the same", a.Path, trained, m.identity)
		}
	}
	return nil
}

// metadata is what the merged model says of where it comes from.
func (m *merge) metadata() (kvs []gguf.KV) {
	set := func(key string, v gguf.Value) { kvs = append(kvs, gguf.KV{Key: key, Value: v}) }
	var files, names, hashes []string
	var scales []float32
	for _, a := range m.adapters {
		file := filepath.Base(a.Path)
		name, _ := a.adapter.Extra.Str("general.name")
		files, hashes, scales = append(files, file), append(hashes, a.SHA256), append(scales, a.Scale)
		names = append(names, cmp.Or(name, strings.TrimSuffix(file, filepath.Ext(file))))
	}
	base := cmp.Or(m.identity.Name, strings.TrimSuffix(filepath.Base(m.c.String("model")), ".gguf"))
	set("general.name", cmp.Or(m.c.String("name"), strings.Join(append([]string{base}, names...), " + ")))
	set("qtool.merge.version", version.String())
	set("qtool.merge.base.name", m.identity.Name)
	set("qtool.merge.base.sha256", m.identity.SHA256)
	set("qtool.merge.adapters", files)
	set("qtool.merge.adapter_sha256", hashes)
	set("qtool.merge.scales", scales)
	if source := m.c.String("source"); source != "" {
		set("qtool.merge.source", filepath.Base(source))
	}
	for i, a := range m.adapters {
		for _, kv := range a.adapter.Extra.All() {
			if key, ok := strings.CutPrefix(kv.Key, "qtool."); ok {
				set(fmt.Sprintf("qtool.merge.adapter.%d.%s", i+1, key), kv.Value)
			}
		}
	}
	return kvs
}
