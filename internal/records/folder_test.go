package records

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"qtool/internal/usage"
)

func TestASourceIsAPathAndPerhapsAWeight(t *testing.T) {
	dir := writeFiles(t, map[string]string{"real:2": "x", "a": "x"})
	for value, want := range map[string]Source{
		"a.jsonl":                      {"a.jsonl", 1},
		"a.jsonl:2":                    {"a.jsonl", 2},
		"a.jsonl:0.25":                 {"a.jsonl", 0.25},
		"a:b.jsonl":                    {"a:b.jsonl", 1},
		`C:\data\a.jsonl`:              {`C:\data\a.jsonl`, 1},
		`C:\data\a.jsonl:3`:            {`C:\data\a.jsonl`, 3},
		"-":                            {"-", 1},
		"-:2":                          {"-", 2},
		":2":                           {":2", 1},
		filepath.Join(dir, "real:2"):   {filepath.Join(dir, "real:2"), 1},
		filepath.Join(dir, "real:2:3"): {filepath.Join(dir, "real:2"), 3},
	} {
		if got, err := ParseSource(value); got != want || err != nil {
			t.Errorf("%s: %+v, %v", value, got, err)
		}
	}
	for _, value := range []string{"", "a:0", "a:-1", "a:NaN", "a:inf", "a:1e9", "a:0.0001", "a:1e999"} {
		if got, err := ParseSource(value); !errors.Is(err, usage.Err) {
			t.Errorf("%q: %+v, %v", value, got, err)
		}
	}
}

func TestFoldersGiveWhatTheirNamesSay(t *testing.T) {
	const o = `{"a":1}`
	for name, c := range map[string]struct {
		files        map[string]string
		train, valid []string
		notes        []string
	}{
		"mlx": {
			map[string]string{"train.jsonl": o, "valid.jsonl": o, "test.jsonl": o},
			[]string{"train.jsonl"}, []string{"valid.jsonl"}, []string{"test.jsonl is not read"},
		},
		"a test, no validation": {
			map[string]string{"train.csv": "a\n1", "test.csv": "a\n1"}, []string{"train.csv"}, []string{"test.csv"}, nil,
		},
		"shards": {
			map[string]string{
				"README.md": "---\nconfigs: x\n---", ".gitattributes": "x", ".cache/x": "", "dataset_infos.json": "{}", "data/validation-00000-of-00001.parquet": "",
				"data/train-00001-of-00002.parquet": "", "data/train-00000-of-00002.parquet": "", "data/test-00000-of-00001.parquet": "",
			},
			[]string{"data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"}, []string{"data/validation-00000-of-00001.parquet"},
			[]string{"README.md, dataset_infos.json are not read: they tell", ".cache, .gitattributes are not read: they are hidden", "data/test-00000-of-00001.parquet is not read"},
		},
		"folders of splits": {
			map[string]string{"train/0000.jsonl.gz": o, "train/0001.jsonl.gz": o, "dev/0000.jsonl.zst": o, "other.jsonl": o},
			[]string{"train/0000.jsonl.gz", "train/0001.jsonl.gz"}, []string{"dev/0000.jsonl.zst"}, []string{"other.jsonl is not read"},
		},
		"no splits": {
			map[string]string{"b.jsonl": o, "a.json": o, "c/d.tsv": "a\n1", "readme.txt": "x", "model.bin": "\x00"},
			[]string{"a.json", "b.jsonl", "c/d.tsv"}, nil, []string{"readme.txt is not read: it is text beside records", "model.bin is not read: its kind is not known"},
		},
		"documents": {
			map[string]string{"how-to-train.md": "x", "b.txt": "x", "a/z.markdown": "x", "README.md": "x", "picture.png": "x", "b.md": "x"},
			[]string{"README.md", "a/z.markdown", "b.md", "b.txt", "how-to-train.md"}, nil, []string{"picture.png is not read"},
		},
		"documents with splits": {
			map[string]string{"train/a.txt": "x", "train/b.md": "x", "valid.txt": "x", "c.txt": "x"},
			[]string{"train/a.txt", "train/b.md"}, []string{"valid.txt"}, []string{"c.txt is not read"},
		},
		"one data set in two forms": {
			map[string]string{"train.json": o, "train.jsonl": o, "train.jsonl.gz": o, "train.parquet": "x"},
			[]string{"train.jsonl"}, nil, []string{"train.json, train.jsonl.gz, train.parquet are not read: the same names"},
		},
	} {
		dir := writeFiles(t, c.files)
		set, err := Find([]Source{{dir, 1}})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		below := func(list []File) (names []string) {
			for _, f := range list {
				rel, _ := filepath.Rel(dir, f.Path)
				names = append(names, filepath.ToSlash(rel))
			}
			return names
		}
		if diff := cmp.Diff([][]string{c.train, c.valid}, [][]string{below(set.Train), below(set.Valid)}); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		all := strings.Join(set.Notes, "\n")
		for _, n := range c.notes {
			if !strings.Contains(all, n) {
				t.Errorf("%s: %q is missing in\n%s", name, n, all)
			}
		}
		if len(set.Notes) != len(c.notes) {
			t.Errorf("%s: %q", name, set.Notes)
		}
	}
}

func TestFoldersWithoutDataAreRefusedWithWhatTheyHave(t *testing.T) {
	for says, files := range map[string]map[string]string{
		"no data to train on":                 {},
		"it has dataset_info.json":            {"dataset_info.json": "{}"},
		"it is an Arrow or Feather file":      {"data-00000-of-00001.arrow": "\xff\xff\xff\xff\x10\x01\x00\x00", "state.json": "{}"},
		"it has test.jsonl, validation.jsonl": {"test.jsonl": "{}", "validation.jsonl": "{}"},
		"it is the folder of a model":         {"config.json": "{}", "model.safetensors": "", "tokenizer.json": "{}", "vocab.txt": "x"},
		"it is an image":                      {"a.png": "\x89PNG\r\n\x1a\n"},
	} {
		if _, err := Find([]Source{{writeFiles(t, files), 1}}); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", says, err)
		}
	}
	if _, err := Find([]Source{{filepath.Join(t.TempDir(), "absent"), 1}}); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func TestCheckLooksAtEveryFile(t *testing.T) {
	dir := writeFiles(t, map[string]string{"a.jsonl": "{}", "b.jsonl": "", "c.jsonl": "%PDF-1.4"})
	path := func(name string) File { return File{filepath.Join(dir, name), 1} }
	for name, c := range map[string]struct {
		files []File
		want  error
	}{
		"one is empty": {[]File{path("a.jsonl"), path("b.jsonl")}, nil},
		"all empty":    {[]File{path("b.jsonl")}, ErrEmpty},
		"foreign":      {[]File{path("a.jsonl"), path("c.jsonl")}, ErrFormat},
		"gone":         {[]File{path("x")}, os.ErrNotExist},
	} {
		if err := (&Set{Train: c.files}).Check(); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
