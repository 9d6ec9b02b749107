package ollama

import (
	"cmp"
	"fmt"
	"path/filepath"
	"strings"

	"qtool/internal/printable"
	"qtool/internal/usage"
)

// Scheme is what names of models begin with where a path could stand too.
const Scheme = "ollama:"

// What a name has where it does not say.
const (
	defaultHost      = "registry.ollama.ai"
	defaultNamespace = "library"
	defaultTag       = "latest"
)

// Name is the name of a model: HOST/NAMESPACE/MODEL:TAG. Each of its fields is one that
// Ollama takes, so that none can leave the folder it names.
type Name struct{ Host, Namespace, Model, Tag string }

// ParseName reads [[HOST/]NAMESPACE/]MODEL[:TAG], with Ollama's defaults. An error matches
// [usage.Err].
func ParseName(s string) (Name, error) {
	rest := s
	n := Name{defaultHost, defaultNamespace, "", defaultTag}
	if colon := strings.LastIndex(rest, ":"); colon > strings.LastIndex(rest, "/") {
		rest, n.Tag = rest[:colon], rest[colon+1:]
	}
	if _, address, ok := strings.Cut(rest, "://"); ok {
		rest = address
	}
	fields := strings.Split(rest, "/")
	switch len(fields) {
	case 3:
		n.Host, n.Namespace, n.Model = fields[0], fields[1], fields[2]
	case 2:
		n.Namespace, n.Model = fields[0], fields[1]
	case 1:
		n.Model = fields[0]
	default:
		return Name{}, nameError(s, "it has more than two slashes")
	}
	for _, f := range []struct {
		what, value, marks string
		most               int
	}{
		{"host", n.Host, "-_.:", 350}, {"namespace", n.Namespace, "-_", 80},
		{"model", n.Model, "-_.", 80}, {"tag", n.Tag, "-_.", 80},
	} {
		if why := fieldFault(f.value, f.marks, f.most); why != "" {
			return Name{}, nameError(s, fmt.Sprintf("its %s %s %s", f.what, printable.Quote(f.value), why))
		}
	}
	return n, nil
}

func nameError(s, why string) error {
	return usage.Errorf("%s is no name of a model of Ollama: %s; expected [[HOST/]NAMESPACE/]MODEL[:TAG]", printable.Quote(s), why)
}

// fieldFault says what is wrong with one field of a name, which begins with a letter, a
// digit or "_" and goes on with those or marks.
func fieldFault(s, marks string, most int) string {
	switch {
	case s == "":
		return "is empty"
	case len(s) > most:
		return fmt.Sprintf("is longer than %d bytes", most)
	}
	for i := range len(s) {
		c := s[i]
		word := c == '_' || '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z'
		if !word && (i == 0 || !strings.Contains(marks, string(rune(c)))) {
			return fmt.Sprintf("cannot have %q at byte %d", c, i)
		}
	}
	return ""
}

// String is the shortest form of the name, always with its tag.
func (n Name) String() string {
	s := n.Model + ":" + n.Tag
	switch {
	case !strings.EqualFold(n.Host, defaultHost):
		s = n.Host + "/" + n.Namespace + "/" + s
	case !strings.EqualFold(n.Namespace, defaultNamespace):
		s = n.Namespace + "/" + s
	}
	return s
}

// nameFields is how many fields a name has.
const nameFields = 4

// fields are the folders that lead to the manifest, and its file.
func (n Name) fields() [nameFields]string {
	return [nameFields]string{n.Host, n.Namespace, n.Model, n.Tag}
}

// path is where the manifest is below the folder of manifests.
func (n Name) path() string {
	f := n.fields()
	return filepath.Join(f[:]...)
}

// Compare orders names as a list shows them.
func (n Name) Compare(other Name) int {
	a, b := n.fields(), other.fields()
	for i := range a {
		if c := cmp.Compare(strings.ToLower(a[i]), strings.ToLower(b[i])); c != 0 {
			return c
		}
	}
	return 0
}

// NameFor is a name for a model that is made of a file, after the name of that; taken is a
// name that it must not be, such as that of the base.
func NameFor(path string, taken Name) Name {
	text := strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
	var b strings.Builder
	for _, r := range strings.ToLower(text) {
		word := r == '_' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z'
		switch {
		case word || b.Len() > 0 && (r == '-' || r == '.'):
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
	}
	const most = 64
	model := b.String()
	model = strings.TrimRight(model[:min(len(model), most)], "-.")
	n := Name{defaultHost, defaultNamespace, cmp.Or(model, "mine"), defaultTag}
	if strings.EqualFold(n.Model, taken.Model) {
		n.Model += "-tuned"
	}
	return n
}
