package dataset

import (
	"errors"
	"fmt"
	"io"

	"qtool/internal/records"
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

	// KeepPlaces sets the Places of the data.
	KeepPlaces bool
	// First, if not 0, is how many records to read.
	First int

	// Ended, unless nil, is asked before each record; its error ends the reading.
	Ended func() error

	// Threads is how many goroutines tokenize; 0 is as many as the program may use.
	Threads int
}

// Data are the examples of some files, in their order.
type Data struct {
	Examples []Example
	Report   Report
	Files    []records.Found // what the files are, and what they held
	// Places are where the records of the examples stand, with [Options].KeepPlaces.
	Places []records.Place
}

// Load reads the files of a set; eval is nil if none of them is for evaluation. stdin is
// what [records.Stdin] stands for.
//
// Errors match [ErrFormat] for data that cannot be used, [ErrEmpty] if there is
// none, [chat.ErrUnsupported] if conversations need a template that cannot be
// rendered.
func Load(set *records.Set, stdin io.Reader, tok Tokenizer, opts Options) (train, eval *Data, err error) {
	read := func(files []records.File) (*Data, error) {
		return build(files[0].Path, tok, opts, func(r *records.Reader, visit visitor) (records.Report, error) {
			r.Stdin = stdin
			return r.Read(files, visit)
		})
	}
	if train, err = read(set.Train); err == nil && len(set.Valid) > 0 {
		eval, err = read(set.Valid)
	}
	return train, eval, err
}

// Read reads the records of one file; name is used in errors, and its ending
// where the content leaves the format open. See [Load].
func Read(r io.Reader, name string, tok Tokenizer, opts Options) (*Data, error) {
	return build(name, tok, opts, func(reader *records.Reader, visit visitor) (records.Report, error) {
		return reader.ReadStream(r, name, visit)
	})
}

// errEnough ends reading after [Options].First records.
var errEnough = errors.New("enough was read")

type visitor = func(*records.Record) error

// build makes examples of the records that read visits; name stands for all of them.
func build(name string, tok Tokenizer, opts Options, read func(*records.Reader, visitor) (records.Report, error)) (*Data, error) {
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
	left := opts.First
	report, err := read(&records.Reader{SkipBad: opts.SkipBad, OnBad: p.unread}, func(r *records.Record) error {
		if left--; left == -1 && opts.First > 0 {
			return errEnough
		}
		if opts.Ended != nil {
			if err := opts.Ended(); err != nil {
				return err
			}
		}
		if r.Fields != nil {
			return p.add(r)
		}
		if err := p.drain(); err != nil {
			return err
		}
		return b.continueProse(r)
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	// A record before the place where reading failed may be the first bad one.
	if early := p.drain(); early != nil {
		err = early
	}
	if err != nil {
		return nil, err
	}
	data, err := b.finish(name)
	if err == nil {
		data.Files = report.Files
	}
	return data, err
}
