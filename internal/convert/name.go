package convert

import (
	"fmt"
	"math"
	"path/filepath"
	"regexp"
	"strings"
	"unicode"

	"qtool/gguf"
	"qtool/internal/arch"
)

// modelName is the title of the model and of who made it, "" if unknown: from
// the repository that config.json names, else from the folder.
func modelName(dir string, c *config) (name, organization string, err error) {
	id := c.str("_name_or_path", "")
	if c.err != nil {
		return "", "", c.err
	}
	// More than one slash is the path of somebody's disk.
	if id == "" || strings.Count(id, "/") > 1 {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return "", "", err
		}
		id = filepath.Base(abs)
	}
	organization, name, found := strings.Cut(id, "/")
	if !found || strings.Contains(id, " ") {
		organization, name = "", id
	}
	if strings.HasPrefix(organization, ".") {
		organization = ""
	}
	return title(name), title(organization), nil
}

var version = regexp.MustCompile(`^(v\d+(\.\d+)*|\d.*)$`)

// title turns "tiny-llama-v1.1" to "Tiny Llama v1.1": words that have capitals
// or are versions or sizes stay.
func title(id string) string {
	words := strings.Fields(strings.ReplaceAll(id, "-", " "))
	for i, w := range words {
		if w == strings.ToLower(w) && !version.MatchString(w) {
			words[i] = capitalized(w)
		}
	}
	return strings.Join(words, " ")
}

// capitalized makes each letter that follows no letter a capital.
func capitalized(w string) string {
	inWord := false
	return strings.Map(func(r rune) rune {
		first := unicode.IsLetter(r) && !inWord
		inWord = unicode.IsLetter(r)
		if first {
			return unicode.ToTitle(r)
		}
		return r
	}, w)
}

// sizeLabel is the number of parameters in a few letters, such as "1.1B", or
// "8x7B" as count of experts and size of the model with one of them.
func sizeLabel(tensors []*gguf.Tensor) string {
	params, experts := 0, 0
	for _, t := range tensors {
		n := t.Elements()
		if arch.IsExpertStack(t.Name, t.Shape) {
			experts = t.Shape[2]
			n /= experts
		}
		params += n
	}
	label := rounded(float64(params))
	if experts > 0 {
		label = fmt.Sprintf("%dx%s", experts, label)
	}
	return label
}

// rounded keeps at least two digits.
func rounded(n float64) string {
	unit, scaled := "K", n/1e3
	for _, u := range []struct {
		name string
		size float64
	}{{"T", 1e12}, {"B", 1e9}, {"M", 1e6}} {
		if n > u.size {
			unit, scaled = u.name, n/u.size
			break
		}
	}
	whole := strings.TrimLeft(fmt.Sprint(math.RoundToEven(scaled)), "0")
	return fmt.Sprintf("%.*f%s", max(2-len(whole), 0), scaled, unit)
}
