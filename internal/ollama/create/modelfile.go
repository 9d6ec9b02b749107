package create

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"qtool/internal/ollama"
	"qtool/internal/source"
	"qtool/internal/usage"
)

// Modelfile is the job as a text for ollama create -f. It refuses what such a file cannot
// say.
func (j *Job) Modelfile() (string, error) {
	if err := j.check(); err != nil {
		return "", err
	}
	if len(j.Adapters) > 1 {
		return "", usage.Errorf("Ollama takes one ADAPTER in a Modelfile, and %d are given%s", len(j.Adapters), j.instead())
	}
	b, err := j.openBase()
	if err != nil {
		return "", err
	}
	from := strings.TrimPrefix(j.Model, ollama.Scheme)
	if !source.IsOllama(j.Model) {
		if len(b.files) > 1 {
			return "", usage.Errorf("%s has %d shards, and FROM names one file: qtool join makes one of them", b.name, len(b.files))
		}
		if from, err = filepath.Abs(j.Model); err != nil {
			return "", err
		}
	}
	var out strings.Builder
	fmt.Fprintf(&out, "FROM %s\n", from)
	for _, a := range j.Adapters {
		path, err := filepath.Abs(a)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&out, "ADAPTER %s\n", path)
	}
	for _, name := range slices.Sorted(maps.Keys(j.Parameters)) {
		values, several := j.Parameters[name].([]string)
		if !several {
			values = []string{fmt.Sprint(j.Parameters[name])}
		}
		for _, v := range values {
			if err := writeText(&out, "PARAMETER "+name, v, several); err != nil {
				return "", err
			}
		}
	}
	for _, t := range []struct {
		word string
		list []string
	}{{"TEMPLATE", []string{j.Template}}, {"SYSTEM", []string{j.System}}, {"LICENSE", j.Licenses}} {
		for _, text := range t.list {
			if text == "" {
				continue
			}
			if err := writeText(&out, t.word, text, true); err != nil {
				return "", err
			}
		}
	}
	return out.String(), nil
}

// writeText writes an instruction with a text, which has quotes around it where it may hold
// anything. There is no way to write three quotes within them, nor one at the end.
func writeText(out *strings.Builder, word, text string, quoted bool) error {
	const quotes = `"""`
	if strings.Contains(text, quotes) || strings.HasSuffix(text, `"`) {
		return usage.Errorf("%s: a Modelfile cannot hold a text with %s or with a quote at its end; without --modelfile qtool can set it", word, quotes)
	}
	if quoted {
		text = quotes + text + quotes
	}
	_, err := fmt.Fprintf(out, "%s %s\n", word, text)
	return err
}
