package dataset

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"qtool/internal/input"
)

// Options say how records become examples.
type Options struct {
	// Seq is the most positions an example may have, at least 2.
	Seq int
	// Context is the longest sequence the model was made for, 0 if unknown. It
	// serves error messages only.
	Context int
	// Long is what becomes of longer examples. Plain text files are always windowed.
	Long Long
	// Truncate stands for LongTruncateRight, SplitText for LongSplit of {"text"} records.
	Truncate, SplitText bool

	// Format is the form of all records, "" to recognise it by their keys. See [Formats].
	Format string
	// The keys to read, "" for the usual ones. A form whose keys are named comes first.
	TextField, PromptField, CompletionField, MessagesField, SystemField string
	// IgnoreKeys are keys that may be passed over.
	IgnoreKeys []string

	// Template renders conversations; nil refuses them.
	Template Template
	// TemplatePairs puts a prompt and its completion through the template too.
	TemplatePairs bool
	// TrainOn is what is learned.
	TrainOn TrainOn
	// KeepEmpty learns empty answers: to stop at once.
	KeepEmpty bool
	// SkipBad counts records that cannot be used, instead of failing.
	SkipBad bool

	// Threads is how many goroutines tokenize; 0 is as many as the program may use.
	Threads int
}

// Data are the examples of one file, in file order.
type Data struct {
	Examples []Example
	Report   Report
}

// Load reads path: a file, or a folder with a file train.jsonl and perhaps
// valid.jsonl (.json and .txt do too), whose examples are eval. Without valid.*,
// eval is nil.
//
// Errors match [ErrFormat] for data that cannot be used, [ErrEmpty] if there is
// none, [chat.ErrUnsupported] if conversations need a template that cannot be
// rendered.
func Load(path string, tok Tokenizer, opts Options) (train, eval *Data, err error) {
	files, err := Files(path)
	if err != nil {
		return nil, nil, err
	}
	if train, err = loadFile(files[0], tok, opts); err != nil {
		return nil, nil, err
	}
	if len(files) > 1 {
		eval, err = loadFile(files[1], tok, opts)
	}
	return train, eval, err
}

// Files lists the files that [Load] reads: that of the training data, then that of the
// evaluation data if there is one.
func Files(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("opening the data: %w", err)
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	train, valid := inFolder(path, "train"), inFolder(path, "valid")
	switch {
	case train == "":
		return nil, fmt.Errorf("%s: %w: the folder has no train.jsonl, train.json or train.txt", path, ErrFormat)
	case valid == "":
		return []string{train}, nil
	}
	return []string{train, valid}, nil
}

// Check fails, as [Load] would, for files that cannot be read or are empty.
func Check(files []string) error {
	for _, path := range files {
		f, err := input.Open(path)
		if err != nil {
			return fmt.Errorf("opening the data: %w", err)
		}
		f.Close()
		if f.Size() == 0 {
			return empty(path)
		}
	}
	return nil
}

func empty(name string) error { return fmt.Errorf("%s: %w: it holds no records", name, ErrEmpty) }

func inFolder(folder, stem string) string {
	for _, ext := range []string{".jsonl", ".json", ".txt"} {
		file := filepath.Join(folder, stem+ext)
		if _, err := os.Stat(file); err == nil {
			return file
		}
	}
	return ""
}

func loadFile(path string, tok Tokenizer, opts Options) (*Data, error) {
	f, err := input.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening the data: %w", err)
	}
	defer f.Close()
	return Read(f, path, tok, opts)
}

// Read reads the records of one file; name is used in errors, and its ending
// where the content leaves the format open. See [Load].
func Read(r io.Reader, name string, tok Tokenizer, opts Options) (*Data, error) {
	if opts.Seq < 2 {
		return nil, fmt.Errorf("a sequence of %d tokens holds nothing to learn; --seq must be at least 2", opts.Seq)
	}
	forms, err := opts.forms()
	if err != nil {
		return nil, err
	}
	fresh := func() *builder { return newBuilder(&opts, forms, tok) }
	b := fresh()
	p := newPipeline(b, fresh, opts.Threads)
	defer p.stop()
	err = scan(r, name, func(at place, body []byte, l layout) error {
		if l == plainText {
			return b.continueProse(at, body)
		}
		return p.add(at, body)
	})
	// A record before the place where reading failed may be the first bad one.
	if early := p.drain(); early != nil {
		err = early
	}
	if err != nil {
		return nil, err
	}
	return b.finish(name)
}
