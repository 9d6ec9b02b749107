// Package floors holds the table of what each package may import.
package floors

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// floors lists all packages, the highest floor first. A package may import those of the
// floors below its own, and no other one of the module. Tests may import what they want.
var floors = [][]string{
	{"cmd/qtool"},
	{"fixtures/generate", "internal/bench", "internal/followup", "internal/modeldoc"},
	{"train", "internal/ollama/create", "internal/adapters", "internal/dialogue"},
	{"lora"},
	{"internal/loop", "internal/adapt", "internal/peft", "internal/source"},
	{"internal/infer"},
	{"internal/sensitivity"},
	{"internal/model"},
	{"internal/nn", "internal/dataset", "internal/convert", "internal/ollama/server", "internal/ollama/ollamatest"},
	{"internal/chat", "internal/ollama", "internal/records", "internal/scaledtest", "internal/tokenizer", "quantize/imatrix"},
	{"quantize", "fixtures", "internal/records/parquet"},
	{"internal/arch", "fixtures/language", "fixtures/vocabulary"},
	{"internal/kernel/product", "internal/kernel/_asm"},
	{"internal/kernel/coding", "internal/kernel/kerneltest"},
	{"internal/kernel/vector", "internal/work"},
	{"internal/budget", "internal/outputs", "internal/torchfile"},
	{"gguf", "safetensors", "internal/records/jsontext"},
	{"internal/atomicfile/faulty"},
	{"internal/atomicfile", "internal/codebook", "internal/crash", "internal/ggml", "internal/half", "internal/input", "internal/kernel/simd", "internal/memory", "internal/mmap", "internal/panics", "internal/printable", "internal/sharedtest", "internal/shell", "internal/splitmix", "internal/usage", "internal/version", "train/run"},
}

// libraries are the modules of others, each with the packages that may import it: a
// library that is to be replaced has few places.
var libraries = map[string][]string{
	"github.com/urfave/cli/v2":                         {"cmd/qtool"},
	"github.com/schollz/progressbar/v3":                {"cmd/qtool"},
	"github.com/gofrs/flock":                           {"train", "internal/ollama/create"},
	"github.com/klauspost/compress/gzip":               {"internal/records", "internal/records/parquet"},
	"github.com/klauspost/compress/snappy":             {"internal/records/parquet"},
	"github.com/klauspost/compress/zstd":               {"internal/records", "internal/records/parquet"},
	"github.com/parquet-go/parquet-go/deprecated":      {"internal/records/parquet"},
	"github.com/parquet-go/parquet-go/encoding/thrift": {"internal/records/parquet"},
	"github.com/parquet-go/parquet-go/format":          {"internal/records/parquet"},
	"github.com/ardanlabs/jinja":                       {"internal/chat"},
	"github.com/mattn/go-runewidth":                    {"cmd/qtool"},
	"golang.org/x/term":                                {"cmd/qtool"},
	"gonum.org/v1/gonum/blas":                          {"lora"},
	"gonum.org/v1/gonum/blas/blas64":                   {"lora"},
	"gonum.org/v1/gonum/lapack/lapack64":               {"lora"},
	"gonum.org/v1/gonum/mat":                           {"lora"},
	"golang.org/x/exp/constraints":                     {"gguf"},
	"golang.org/x/sys/cpu":                             {"cmd/qtool", "internal/kernel/simd"},
	"golang.org/x/sys/unix":                            {"cmd/qtool", "internal/atomicfile", "internal/bench", "internal/crash", "internal/memory", "internal/mmap"},
	"golang.org/x/sys/windows":                         {"cmd/qtool", "internal/memory", "internal/mmap"},
	"github.com/dlclark/regexp2":                       {"internal/tokenizer", "quantize"},
	"github.com/google/go-cmp/cmp":                     {},
	"github.com/rogpeppe/go-internal/testscript":       {},
}

const module = "qtool/"

func TestPackagesImportWhatIsBelowThem(t *testing.T) {
	floor := map[string]int{}
	for i, packages := range floors {
		for _, p := range packages {
			floor[p] = i
		}
	}
	seen := map[string]bool{}
	for file, imports := range sources(t) {
		from := filepath.ToSlash(filepath.Dir(file))
		seen[from] = true
		here, known := floor[from]
		if !known {
			t.Errorf("%s: the package has no floor in the table", file)
			continue
		}
		for _, path := range imports {
			to, own := strings.CutPrefix(path, module)
			there, known := floor[to]
			switch {
			case own && !known:
				t.Errorf("%s imports %s, which has no floor in the table", file, to)
			case own && there <= here:
				t.Errorf("%s imports %s, which is not below it", file, to)
			case !own && !slices.Contains(libraries[path], from) && isLibrary(path):
				t.Errorf("%s imports %s, which the table does not let it", file, path)
			}
		}
	}
	for p := range floor {
		if !seen[p] {
			t.Errorf("the table has %s, which is no package", p)
		}
	}
}

// isLibrary tells the modules of others from the standard library.
func isLibrary(path string) bool {
	host, _, _ := strings.Cut(path, "/")
	return strings.Contains(host, ".")
}

// sources are the imports of all source files but tests, for every system and CPU.
func sources(t *testing.T) map[string][]string {
	t.Helper()
	const root = "../.."
	files := map[string][]string{}
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && (e.Name() == "testdata" || e.Name() != filepath.Base(root) && strings.HasPrefix(e.Name(), ".")):
			return filepath.SkipDir
		case e.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		files[name] = nil
		for _, i := range f.Imports {
			imported, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			files[name] = append(files[name], imported)
		}
		return nil
	})
	if err != nil || len(files) < 100 {
		t.Fatal(len(files), err)
	}
	return files
}
