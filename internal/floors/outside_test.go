package floors

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// outsideExamples are the examples that a module of somebody else must be able to build
// and run: they list and decode a tensor, quantize values and write a file, and fine-tune.
var outsideExamples = []string{"gguf/example_test.go", "quantize/example_test.go", "train/example_test.go"}

func TestAModuleOutsideTheRepositoryBuildsAndRunsTheExamples(t *testing.T) {
	if testing.Short() {
		t.Skip("links three programs")
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	read := func(name string) string {
		t.Helper()
		b, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	// What the module needs of others is what qtool needs.
	mod := read("go.mod")
	mod = regexp.MustCompile(`(?m)^module .*$`).ReplaceAllString(mod, "module outside.example/user")
	write("go.mod", mod+"\nrequire qtool v0.0.0\n\nreplace qtool => "+filepath.ToSlash(root)+"\n")
	write("go.sum", read("go.sum"))
	for _, example := range outsideExamples {
		text := read(example)
		text = regexp.MustCompile(`(?m)^package \w+$`).ReplaceAllString(text, "package user_test")
		write(strings.TrimSuffix(example, "/example_test.go")+"/example_test.go", text)
	}
	test := exec.Command("go", "test", "-v", "-run", "Example", "./...")
	test.Dir = dir
	test.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOPROXY=off", "GOWORK=off", "CGO_ENABLED=0")
	out, err := test.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if n := strings.Count(string(out), "--- PASS: Example"); n < len(outsideExamples) {
		t.Errorf("%d examples ran:\n%s", n, out)
	}
}
