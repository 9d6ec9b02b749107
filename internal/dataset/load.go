package dataset

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"qtool/internal/chat"
	"qtool/internal/input"
)

// Options say how records become examples.
type Options struct {
	// Seq is the most positions an example may have, at least 2.
	Seq int
	// Context is the longest sequence the model was made for, 0 if unknown. It
	// serves error messages only.
	Context int
	// Truncate cuts records that are longer at the end. Without it they are an
	// error, a [TooLongError]. Plain text files are never cut, but windowed.
	Truncate bool
	// SplitText cuts {"text"} records that are longer into windows.
	SplitText bool
	// The keys to read, "" for text, prompt and completion.
	TextField, PromptField, CompletionField string
	// Template renders conversations; nil is ChatML.
	Template chat.Template
}

// Report counts what a file gave.
type Report struct {
	Records   int `json:"records"`       // as read
	Examples  int `json:"examples"`      // to train on
	Tokens    int `json:"tokens"`        // positions over all examples
	Scored    int `json:"scored_tokens"` // positions that count
	Longest   int `json:"longest"`       // positions of the longest record, before cutting
	Truncated int `json:"truncated"`     // records cut at the end
	Windowed  int `json:"windowed"`      // records cut into windows
	Skipped   int `json:"skipped"`       // records without anything scored, or with nothing of it before the cut
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
	if opts.Template == nil {
		opts.Template = chat.ChatML()
	}
	b := builder{opts: opts, enc: encoder{tok, opts.Template}, tooLong: TooLongError{Seq: opts.Seq, Context: opts.Context}}
	forms := opts.forms()
	err := scan(r, name, func(at place, body []byte, l layout) error {
		if l == plainText {
			return b.continueProse(at, body)
		}
		rec, err := parseRecord(at, body, forms)
		if err != nil {
			return err
		}
		return b.add(at, rec)
	})
	if err == nil {
		b.endProse()
	}
	switch {
	case err != nil:
		return nil, err
	case b.tooLong.Records > 0:
		return nil, &b.tooLong
	case b.data.Report.Records == 0:
		return nil, empty(name)
	case len(b.data.Examples) == 0:
		return nil, fmt.Errorf("%s: %w: none of its %d records has a token to score", name, ErrEmpty, b.data.Report.Records)
	}
	return &b.data, nil
}

// builder collects examples under the rules for length.
type builder struct {
	opts    Options
	enc     encoder
	data    Data
	prose   *prose // the plain text at hand
	tooLong TooLongError
}

func (b *builder) add(at place, rec record) error {
	b.data.Report.Records++
	if _, ids := rec.(tokenRecord); !ids {
		if err := b.needVocabulary(at); err != nil {
			return err
		}
	}
	doc, err := rec.tokenize(&b.enc)
	switch {
	case errors.Is(err, chat.ErrUnsupported):
		return fmt.Errorf("%s: %w", at, err)
	case err != nil:
		return &FormatError{Where: at.String(), Err: err}
	}
	ex, ok := doc.example()
	if !ok {
		b.data.Report.Skipped++
		return nil
	}
	length := ex.Len()
	b.data.Report.Longest = max(b.data.Report.Longest, length)
	_, isText := rec.(textRecord)
	switch {
	case length <= b.opts.Seq:
		b.keep(ex)
	case isText && b.opts.SplitText:
		b.data.Report.Windowed++
		w := b.windows()
		w.add(ex.IDs...)
		w.flush()
	case b.opts.Truncate:
		if ex, ok = ex.cut(b.opts.Seq); !ok {
			b.data.Report.Skipped++
			return nil
		}
		b.data.Report.Truncated++
		b.keep(ex)
	default:
		b.tooLong.add(at, length, isText)
	}
	return nil
}

func (b *builder) needVocabulary(at place) error {
	if b.enc.tok != Untokenized(b.enc.tok.Size()) {
		return nil
	}
	return &FormatError{Where: at.String(), Err: errors.New(`the model has no vocabulary, so text cannot be tokenized; only records of {"input_ids","labels"} can be used`)}
}

func (b *builder) windows() windows {
	return windows{seq: b.opts.Seq, bos: b.enc.tok.BOS(), emit: b.keep}
}

// continueProse takes the next piece of a plain text file, which is one record, no
// markup, and always cut into windows.
func (b *builder) continueProse(at place, piece []byte) error {
	if b.prose == nil {
		if err := b.needVocabulary(at); err != nil {
			return err
		}
		b.prose = &prose{tok: b.enc.tok, windows: b.windows()}
	}
	b.prose.add(piece)
	return nil
}

// endProse ends the plain text, if there is one.
func (b *builder) endProse() {
	if b.prose == nil {
		return
	}
	tokens, r := b.prose.end(), &b.data.Report
	switch n := b.prose.windows.emitted; {
	case tokens == 0:
		return
	case n == 0:
		r.Skipped++
	case n > 1:
		r.Windowed++
	}
	r.Records++
	r.Longest = max(r.Longest, tokens-1)
}

func (b *builder) keep(ex Example) {
	r := &b.data.Report
	r.Examples++
	r.Tokens += ex.Len()
	r.Scored += ex.CountScored()
	b.data.Examples = append(b.data.Examples, ex)
}
