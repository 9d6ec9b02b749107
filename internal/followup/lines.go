package followup

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"qtool/gguf"
	"qtool/internal/arch"
	"qtool/internal/ollama"
	"qtool/internal/ollama/create"
	"qtool/internal/shell"
	"qtool/internal/source"
)

// Embedded is the name of the model that qtool carries, where a MODEL is expected.
const Embedded = "embedded"

// Trained is the result of a training.
type Trained struct {
	Model   string // the base as the user named it, "" for the embedded one
	Pre     string // the pre-tokenizer that the user gave for it
	Adapter string // the file that was written; "" if Full is
	Full    string // the whole model that was written instead
	// MergeOnly says that llama.cpp does not honour the adapter.
	MergeOnly bool
	// Ollama says that a model of Ollama was made of the result already.
	Ollama bool
}

// Line is one thing to do next. Lines are in the order in which they can be run.
type Line struct {
	For     string `json:"for"`               // "chat", "base", "merge", "llama.cpp" or "ollama"
	Command string `json:"command,omitempty"` // "" if there is none, for the reason in Note
	Note    string `json:"note,omitempty"`
}

// Lines are what can be done next with t. Only headers of files are read.
func (t Trained) Lines() []Line {
	if t.Full != "" {
		return t.finished(t.Full, []Line{{For: "chat", Command: shell.Line("qtool", "chat", shell.Path(t.Full))}})
	}
	base := cmp.Or(t.Model, Embedded)
	talk := []string{"qtool", "chat", shell.Path(base), "--lora", shell.Path(t.Adapter)}
	if t.Pre != "" {
		talk = append(talk, "--pre", t.Pre)
	}
	lines := []Line{{For: "chat", Command: shell.Line(talk...)}}
	if t.MergeOnly {
		return t.merged(base, lines)
	}
	file, copied := t.base(base)
	if copied != nil {
		lines = append(lines, *copied)
	}
	return append(lines, t.serve(file), t.create(base, file))
}

// serve is the line for llama.cpp with an adapter.
func (t Trained) serve(base string) Line {
	l := Line{For: "llama.cpp"}
	if strings.Contains(t.Adapter, ",") {
		l.Note = "llama-server splits what follows --lora at commas: rename the adapter, or its folder, to a name without"
		return l
	}
	l.Command = shell.Line("llama-server", "-m", shell.Path(base), "--lora", shell.Path(t.Adapter))
	return l
}

// create is the line for Ollama with an adapter. base is the model as the user named it, and
// file the one that llama.cpp opens.
func (t Trained) create(base, file string) Line {
	if !source.IsOllama(base) {
		base = file
	}
	return t.ollama(base, "--adapter", shell.Path(t.Adapter))
}

// ollama is the line for Ollama.
func (t Trained) ollama(base string, more ...string) Line {
	l := Line{For: "ollama"}
	if t.Ollama {
		l.Note = "the model of Ollama is made already"
		return l
	}
	if _, err := os.Stat(base); err == nil || source.IsOllama(base) {
		if err := (&create.Job{Model: base}).CheckBase(); err != nil {
			l.Note = fmt.Sprintf("Ollama cannot run it: %v", err)
			return l
		}
	}
	var taken ollama.Name
	if name, ok := strings.CutPrefix(t.Model, ollama.Scheme); ok {
		taken, _ = ollama.ParseName(name)
	}
	name := ollama.NameFor(cmp.Or(t.Adapter, t.Full), taken)
	words := append([]string{"qtool", "ollama", "create", strings.TrimSuffix(name.String(), ":latest"), "--model", shell.Path(base)}, more...)
	l.Command = shell.Line(words...)
	return l
}

// merged are the lines for an adapter that must be merged first.
func (t Trained) merged(base string, lines []Line) []Line {
	out := unused(strings.TrimSuffix(t.Adapter, filepath.Ext(t.Adapter))+"-merged", ".gguf")
	words := []string{"qtool", "lora", "merge", "--model", shell.Path(base), "--keep", "0.9"}
	if t.Pre != "" {
		words = append(words, "--pre", t.Pre)
	}
	words = append(words, shell.Path(t.Adapter), shell.Path(out))
	lines = append(lines, Line{For: "merge", Command: shell.Line(words...), Note: "llama.cpp does not honour all pairs of this adapter, so that it is merged into the base first"})
	return t.finished(out, lines)
}

// finished adds the lines for a whole model.
func (t Trained) finished(file string, lines []Line) []Line {
	return append(lines, Line{For: "llama.cpp", Command: shell.Line("llama-server", "-m", shell.Path(file))}, t.ollama(file))
}

// base is the file of the base that llama.cpp opens, and the line that writes it if there is
// none yet.
func (t Trained) base(model string) (file string, copied *Line) {
	stem, why := "", ""
	switch name, isOllama := strings.CutPrefix(model, ollama.Scheme); {
	case t.Model == "":
		stem, why = Embedded, "llama.cpp and Ollama take files, and this base is inside of qtool"
	case isOllama:
		blob := source.Paths(model)[0]
		if !ownForm(blob) {
			return blob, nil
		}
		stem, why = strings.NewReplacer("/", "-", ":", "-").Replace(name), "the base is in a form of Ollama's own, which llama.cpp does not open"
	default:
		info, err := os.Stat(model)
		if err != nil || !info.IsDir() {
			return model, nil
		}
		path, err := filepath.Abs(model)
		if err != nil {
			path = model
		}
		stem, why = filepath.Base(path), "llama.cpp and Ollama take GGUF, and the base is a folder"
	}
	file = unused(stem, ".gguf")
	words := []string{"qtool", "quantize", "--type", "COPY"}
	if t.Pre != "" {
		words = append(words, "--pre", t.Pre)
	}
	words = append(words, shell.Path(model), shell.Path(file))
	return file, &Line{For: "base", Command: shell.Line(words...), Note: why + ": write it first"}
}

// ownForm reports whether a blob of Ollama is in a form that llama.cpp does not open.
func ownForm(blob string) bool {
	f, err := gguf.Open(blob, gguf.WithoutData())
	if err != nil {
		return false
	}
	defer f.Close()
	shown, _, err := ollama.Translate(f)
	if err != nil || shown == gguf.Model(f) {
		return err != nil
	}
	name, _ := arch.Name(f)
	return name != "llama" || len(shown.Tensors()) != len(f.Tensors()) // of llama, only keys of the vocabulary are others
}

// unused is a name of a file that is not there yet.
func unused(stem, ending string) string {
	name := stem + ending
	for i := 2; ; i++ {
		if _, err := os.Lstat(name); err != nil {
			return name
		}
		name = fmt.Sprintf("%s-%d%s", stem, i, ending)
	}
}
