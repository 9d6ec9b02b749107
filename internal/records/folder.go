package records

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"qtool/internal/printable"
)

// A folder is read by its names:
//
//	train.jsonl  valid.jsonl                  as mlx-lm has them
//	data/train-00000-of-00002.parquet  …      a data set of the Hugging Face hub, in shards
//	train/0000.parquet  validation/…          the same, a folder for each split
//	a.jsonl  b.csv  sub/c.parquet             no splits: all of it is for training
//	one.txt  two.md  sub/three.txt            documents, if there is nothing else
//
// in the order of their names.

// Limits of a folder.
const (
	maxFolderFiles = 100_000
	maxFolderDepth = 16
)

// split is what a file is for.
type split int

const (
	noSplit split = iota
	trainSplit
	validSplit
	testSplit
)

// splitWords are the words in names that say it.
var splitWords = map[string]split{
	"train": trainSplit, "training": trainSplit,
	"validation": validSplit, "valid": validSplit, "val": validSplit, "dev": validSplit, "eval": validSplit, "evaluation": validSplit,
	"test": testSplit, "testing": testSplit,
}

var wordsOfNames = regexp.MustCompile(`[A-Za-z]+`)

// splitOf finds the split of a path inside of a folder: the word nearest to its end that
// names one. A document is not for a split because its title speaks of training: its
// whole name must be the word, but for digits, or a folder's.
func splitOf(name string, document bool) split {
	name = plainName(name)
	name = strings.TrimSuffix(name, path.Ext(name))
	words := wordsOfNames.FindAllString(name, -1)
	if document {
		words = strings.FieldsFunc(name, func(r rune) bool { return r == '/' })
		words[len(words)-1] = strings.TrimRight(words[len(words)-1], "-_.0123456789")
	}
	for _, w := range slices.Backward(words) {
		if s, ok := splitWords[strings.ToLower(w)]; ok {
			return s
		}
	}
	return noSplit
}

// metadata are files that tell about a data set and are none of it.
var metadata = []string{
	"readme.md", "license", "license.md", "license.txt", "dataset_infos.json", "dataset_info.json", "dataset_dict.json", "state.json", "config.json", "croissant.json",
}

// entry is one file of a folder that may be read.
type entry struct {
	name  string // below the folder, with slashes
	kind  Kind
	split split
}

// listing is what lies in a folder.
type listing struct {
	entries                            []entry
	hidden, unknown, about, linkedAway []string // names of files that are not read
}

// folder adds the files of a folder.
func (s *Set) folder(source Source) error {
	all, err := list(source.Path)
	if err != nil {
		return err
	}
	if all.isModel() {
		return fatal{Bad(Place{Path: source.Path}, "it is the folder of a model; give the data to train on, and the model as --model")}
	}
	where := printable.Text(source.Path)
	tables := slices.ContainsFunc(all.entries, func(e entry) bool { return !e.isText() })
	splits := slices.ContainsFunc(all.entries, func(e entry) bool { return e.split == trainSplit })
	entries, texts := all.entries, []string(nil)
	if tables && !splits {
		entries, texts = partition(entries, func(e entry) bool { return !e.isText() })
	}
	entries, copies := withoutCopies(entries)
	train, valid, others := chooseSplits(entries)
	if tables || splits {
		s.noteAbout(where, "it tells about the data", "they tell about the data", all.about)
	} else {
		train = append(train, all.documents()...)
		slices.SortFunc(train, func(a, b entry) int { return strings.Compare(a.name, b.name) })
	}
	s.noteAbout(where, "it is hidden", "they are hidden", all.hidden)
	s.noteAbout(where, "it is a link to a folder", "they are links to folders", all.linkedAway)
	s.noteAbout(where, "its kind is not known by its ending", "their kinds are not known by their endings", all.unknown)
	s.noteAbout(where, "it is text beside records; give it as --data of its own", "they are texts beside records; give them as --data of their own", texts)
	s.noteAbout(where, "the same name with another ending is read", "the same names with other endings are read", copies)
	s.noteAbout(where, "its name has no split, or one that is not used", "their names have no split, or one that is not used", others)
	if len(train) == 0 {
		if len(all.unknown) > 0 {
			if _, err := Look(filepath.Join(source.Path, filepath.FromSlash(all.unknown[0]))); err != nil {
				return err
			}
		}
		return fatal{Bad(Place{Path: source.Path}, "the folder has no data to train on: expected train.jsonl (or .json, .csv, .parquet, .txt, also in shards and compressed), files of records, or documents of .txt and .md%s", all.summary())}
	}
	s.Train = append(s.Train, files(source, train)...)
	s.Valid = append(s.Valid, files(source, valid)...)
	return nil
}

func (e entry) isText() bool { return e.kind == PlainText || e.kind == Markdown }

// documents are the files that tell about a data set where they are texts among texts.
func (l listing) documents() []entry {
	var texts []entry
	for _, name := range l.about {
		if e := (entry{name: name, kind: kindOfEnding[ending(name)]}); e.isText() {
			texts = append(texts, e)
		}
	}
	return texts
}

// isModel is whether a folder is a model of Hugging Face.
func (l listing) isModel() bool {
	if !slices.Contains(l.about, "config.json") {
		return false
	}
	tokenizer := slices.ContainsFunc(l.entries, func(e entry) bool { return strings.HasPrefix(e.name, "tokenizer") })
	return tokenizer || slices.ContainsFunc(l.unknown, func(name string) bool {
		return strings.HasPrefix(name, "tokenizer") || path.Ext(name) == ".safetensors"
	})
}

func (l listing) summary() string {
	var names []string
	for _, e := range l.entries {
		names = append(names, e.name)
	}
	names = append(append(names, l.about...), l.unknown...)
	if len(names) == 0 {
		return ""
	}
	return "; it has " + some(names)
}

func (s *Set) noteAbout(where, one, many string, names []string) {
	switch len(names) {
	case 0:
	case 1:
		s.note("%s: %s is not read: %s", where, some(names), one)
	default:
		s.note("%s: %s are not read: %s", where, some(names), many)
	}
}

// list looks through a folder and those below it.
func list(dir string) (*listing, error) {
	l := &listing{}
	count := 0
	err := filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("opening the data: %w", err)
		}
		if file == dir {
			return nil
		}
		name, err := filepath.Rel(dir, file)
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		if count++; count > maxFolderFiles {
			return fatal{Bad(Place{Path: dir}, "the folder has more than %d files; put documents together in JSON lines, one {\"text\"} each", maxFolderFiles)}
		}
		switch {
		case strings.HasPrefix(d.Name(), ".") || d.Name() == "__MACOSX":
			l.hidden = append(l.hidden, name)
			if d.IsDir() {
				return fs.SkipDir
			}
		case d.IsDir() && strings.Count(name, "/") >= maxFolderDepth:
			return fatal{Bad(Place{Path: file}, "folders lie more than %d deep in each other", maxFolderDepth)}
		case !d.IsDir():
			l.add(file, name)
		}
		return nil
	})
	slices.SortFunc(l.entries, func(a, b entry) int { return strings.Compare(a.name, b.name) })
	return l, err
}

func (l *listing) add(file, name string) {
	kind, known := kindOfEnding[ending(name)]
	info, err := os.Stat(file)
	switch {
	case err == nil && info.IsDir():
		l.linkedAway = append(l.linkedAway, name)
	case slices.Contains(metadata, strings.ToLower(path.Base(name))):
		l.about = append(l.about, name)
	case !known || err == nil && !info.Mode().IsRegular():
		l.unknown = append(l.unknown, name)
	default:
		e := entry{name: name, kind: kind}
		e.split = splitOf(name, e.isText())
		l.entries = append(l.entries, e)
	}
}

// chooseSplits says which entries are for training and for evaluation, and names the
// others. Without a split for training, what has no split is for it.
func chooseSplits(entries []entry) (train, valid []entry, others []string) {
	var by [4][]entry
	for _, e := range entries {
		by[e.split] = append(by[e.split], e)
	}
	train, valid = by[trainSplit], by[validSplit]
	rest := [][]entry{by[noSplit], by[testSplit]}
	if len(train) == 0 {
		train, rest[0] = by[noSplit], nil
	}
	if len(valid) == 0 {
		valid, rest[1] = by[testSplit], nil
	}
	for _, list := range rest {
		for _, e := range list {
			others = append(others, e.name)
		}
	}
	return train, valid, others
}

func partition(entries []entry, keep func(entry) bool) (kept []entry, others []string) {
	for _, e := range entries {
		if keep(e) {
			kept = append(kept, e)
		} else {
			others = append(others, e.name)
		}
	}
	return kept, others
}

// preference orders endings where a name has several: the first one is read, since they
// are the same data in several forms.
var preference = []string{".jsonl", ".ndjson", ".parquet", ".json", ".csv", ".tsv"}

// withoutCopies leaves one of the files whose names differ only in their ending. Documents
// are each their own.
func withoutCopies(entries []entry) (kept []entry, copies []string) {
	rank := func(e entry) int {
		at := slices.Index(preference, ending(e.name))
		if at < 0 {
			at = len(preference)
		}
		return 2*at + min(1, len(e.name)-len(plainName(e.name)))
	}
	best := map[string]entry{}
	stem := func(e entry) string {
		name := plainName(e.name)
		if e.isText() && e.split == noSplit {
			return name
		}
		return strings.TrimSuffix(name, path.Ext(name))
	}
	for _, e := range entries {
		if b, ok := best[stem(e)]; !ok || rank(e) < rank(b) {
			best[stem(e)] = e
		}
	}
	return partition(entries, func(e entry) bool { return best[stem(e)] == e })
}

func files(source Source, entries []entry) []File {
	var list []File
	for _, e := range entries {
		list = append(list, File{filepath.Join(source.Path, filepath.FromSlash(e.name)), source.Weight})
	}
	return list
}
