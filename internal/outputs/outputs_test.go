package outputs

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"qtool/internal/usage"
)

// touch makes empty files in a new folder and returns it.
func touch(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Skip("this system has no such names: ", err)
		}
	}
	return dir
}

func TestOutputAmongTheFilesOfAFolderIsRefused(t *testing.T) {
	dir := touch(t, "model [v1]*/model.safetensors", "other")
	folder := filepath.Join(dir, "model [v1]*")
	if err := Check([]string{folder}, filepath.Join(folder, "model.safetensors")); !errors.Is(err, usage.Err) {
		t.Errorf("an input as output: %v", err)
	}
	for _, path := range []string{filepath.Join(dir, "other"), filepath.Join(folder, "new.gguf")} {
		if err := Check([]string{"", "-", folder, filepath.Join(dir, "missing")}, path); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestFilesAreTheSameHoweverTheyAreNamed(t *testing.T) {
	dir := touch(t, "a/in.gguf", "a/s-00002-of-00003.gguf")
	in := func(names ...string) string { return filepath.Join(append([]string{dir}, names...)...) }
	if err := os.Symlink("a", in("b")); err != nil {
		t.Skip("no symbolic links: ", err)
	}
	if err := os.Symlink(in("a", "in.gguf"), in("soft.gguf")); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(in("a", "in.gguf"), in("hard.gguf")); err != nil {
		t.Fatal(err)
	}
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	relative, err := filepath.Rel(wd, in("a", "in.gguf"))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ input, output string }{
		"by a symbolic link":              {in("a", "in.gguf"), in("soft.gguf")},
		"by a hard link":                  {in("a", "in.gguf"), in("hard.gguf")},
		"by a link to the folder":         {in("a", "in.gguf"), in("b", "in.gguf")},
		"by a relative path":              {in("a", "in.gguf"), relative},
		"the input is the link":           {in("soft.gguf"), in("a", "in.gguf")},
		"another shard":                   {in("a", "s-00001-of-00003.gguf"), in("b", "s-00002-of-00003.gguf")},
		"a shard that is not there":       {in("a", "s-00001-of-00003.gguf"), in("b", "s-00003-of-00003.gguf")},
		"neither is there":                {in("a", "new"), in("b", "new")},
		"neither is there, nor a folder":  {in("no", "new"), in("no", "..", "no", "new")},
		"in another case, where it tells": {in("a", "new"), in("b", otherCase("new"))},
	} {
		if err := Distinct([]string{c.input}, c.output); !errors.Is(err, usage.Err) {
			t.Errorf("%s, an input: %v", name, err)
		}
		if err := Distinct(nil, c.input, c.output); name != "another shard" && name != "a shard that is not there" && !errors.Is(err, usage.Err) {
			t.Errorf("%s, another output: %v", name, err)
		}
	}
	for name, c := range map[string]struct{ input, output string }{
		"another name":       {in("a", "in.gguf"), in("a", "out.gguf")},
		"another folder":     {in("a", "new"), in("new")},
		"one is not there":   {in("a", "in.gguf"), in("b", "new")},
		"shards of another":  {in("a", "s-00001-of-00003.gguf"), in("a", "t-00001-of-00003.gguf")},
		"an absurd number":   {in("a", "s-00001-of-99999999.gguf"), in("a", "x")},
		"no folder for both": {in("no", "new"), in("other", "new")},
	} {
		if err := Distinct([]string{c.input}, c.output); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// otherCase is name as it is also called where case does not count.
func otherCase(name string) string {
	if runtime.GOOS == "windows" || runtime.GOOS == "darwin" {
		return strings.ToUpper(name)
	}
	return name
}

func TestAnOutputThatCannotBeWrittenIsRefusedAndNothingIsLeft(t *testing.T) {
	dir := touch(t, "file", "there.gguf")
	for output, wrong := range map[string]bool{
		"":                                 true,
		"-":                                true,
		dir:                                true,
		filepath.Join(dir, "no", "x.gguf"): false,
		filepath.Join(dir, "file", "x"):    false,
	} {
		err := Check(nil, output)
		if err == nil || errors.Is(err, usage.Err) != wrong {
			t.Errorf("%q: %v", output, err)
		}
	}
	if err := Check(nil, filepath.Join(dir, "new.gguf"), filepath.Join(dir, "there.gguf")); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 2 {
		t.Errorf("left: %v", left)
	}
}
