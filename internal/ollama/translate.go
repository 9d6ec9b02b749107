package ollama

import (
	"fmt"
	"strings"

	"qtool/gguf"
	"qtool/internal/arch"
	"qtool/internal/printable"
)

// Translate shows a model as llama.cpp's own converter would have written it. Some blobs
// that Ollama's converters made have names of their own, or hold encoders of images and
// sounds beside the language model. remarks say what was left out; a model that needs
// nothing is returned as it is. What cannot be translated matches [ErrUnsupported].
//
// The rules are those by which Ollama itself shows such files to llama.cpp, for the
// architectures that qtool computes; others pass and are refused by name where they are
// loaded.
func Translate(m gguf.Model) (_ gguf.Model, remarks []string, err error) {
	name, err := arch.Name(m)
	if err != nil {
		return m, nil, nil // whoever needs the architecture says so
	}
	t := &translation{m: m, md: m.Metadata().Clone(), arch: name}
	t.leaveOutEmbedded()
	if rule := rules[name]; rule != nil {
		if err := rule(t); err != nil {
			return nil, nil, fmt.Errorf("%w: %w", ErrUnsupported, err)
		}
	}
	if !t.changed {
		return m, nil, nil
	}
	result, err := t.result()
	return result, t.remarks, err
}

// rules are what Ollama's own forms of architectures need, by the names that they have
// there.
var rules = map[string]func(*translation) error{
	"gptoss":      translateGPTOSS,
	"gemma3":      translateGemma3,
	"llama":       translateLlama3,
	"olmo3":       func(t *translation) error { t.rename("olmo2"); return nil },
	"glm4moelite": translateGLM4MoELite,
}

// translation is a model being translated.
type translation struct {
	m       gguf.Model
	md      *gguf.Metadata
	arch    string
	tensor  func(name string) string // the new name of a tensor; nil if none changes
	left    map[string]bool          // tensors that are left out
	changed bool
	remarks []string
}

// embedded are the beginnings of tensors that belong to no language model, and what they
// are for.
var embedded = []struct{ prefix, what string }{
	{"v.", "images"}, {"mm.", "images"}, {"a.", "sounds"}, {"s.", "images"}, {"mtp.", "predicting several tokens"},
}

func (t *translation) leaveOutEmbedded() {
	t.left = map[string]bool{}
	for _, tensor := range t.m.Tensors() {
		for _, e := range embedded {
			if strings.HasPrefix(tensor.Name, e.prefix) {
				t.left[tensor.Name] = true
			}
		}
	}
	if len(t.left) == 0 {
		return
	}
	t.changed = true
	counts := map[string]int{}
	for name := range t.left {
		for _, e := range embedded {
			if strings.HasPrefix(name, e.prefix) {
				counts[e.what]++
			}
		}
	}
	for _, what := range []string{"images", "sounds", "predicting several tokens"} {
		if n := counts[what]; n > 0 {
			t.remarks = append(t.remarks, fmt.Sprintf("%d tensors for %s are left out: qtool reads text alone", n, what))
		}
	}
	// Their keys would promise what is not there.
	for _, kv := range t.m.Metadata().All() {
		rest, ours := strings.CutPrefix(kv.Key, t.arch+".")
		if ours && (strings.HasPrefix(rest, "vision.") || strings.HasPrefix(rest, "mm.") || strings.HasPrefix(rest, "audio.")) {
			t.md.Delete(kv.Key)
		}
	}
}

// key is the full name of one of the architecture's keys.
func (t *translation) key(name string) string { return t.arch + "." + name }

// rename gives the architecture the name that llama.cpp knows.
func (t *translation) rename(name string) {
	old := t.arch + "."
	t.arch, t.changed = name, true
	md := new(gguf.Metadata)
	for _, kv := range t.md.All() {
		key := kv.Key
		if rest, ours := strings.CutPrefix(key, old); ours {
			key = t.key(rest)
		}
		md.Set(key, kv.Value)
	}
	md.Set(arch.KeyArchitecture, name)
	t.md = md
}

// set sets a key, and suggest one that is missing.
func (t *translation) set(key string, v gguf.Value) {
	t.changed = true
	t.md.Set(key, v)
}

func (t *translation) suggest(key string, v gguf.Value) {
	if !t.md.Has(key) {
		t.set(key, v)
	}
}

// move gives the value of one of the architecture's keys the name to.
func (t *translation) move(from, to string) {
	v, ok := t.md.Get(t.key(from))
	if !ok {
		return
	}
	t.changed = true
	t.md.Delete(t.key(from))
	if !t.md.Has(t.key(to)) {
		t.md.Set(t.key(to), v)
	}
}

// result assembles what was translated. Hashes in the file are of the old names.
func (t *translation) result() (gguf.Model, error) {
	gguf.DropHashes(t.md)
	var tensors []*gguf.Tensor
	seen := map[string]bool{}
	for _, tensor := range t.m.Tensors() {
		if t.left[tensor.Name] {
			continue
		}
		if t.tensor != nil {
			if name := t.tensor(tensor.Name); name != tensor.Name {
				renamed := *tensor
				renamed.Name = name
				tensor = &renamed
			}
		}
		if seen[tensor.Name] {
			return nil, fmt.Errorf("%w: it has a tensor %s under Ollama's name and under llama.cpp's", ErrInvalid, printable.Quote(tensor.Name))
		}
		seen[tensor.Name] = true
		tensors = append(tensors, tensor)
	}
	return gguf.Assemble(t.md, tensors, t.m), nil
}
