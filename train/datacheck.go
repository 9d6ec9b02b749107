package train

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/bits"
	"strings"
	"time"

	"qtool/internal/arch"
	"qtool/internal/dataset"
	"qtool/internal/loop"
	"qtool/internal/model"
	"qtool/internal/printable"
	"qtool/internal/tokenizer"
	"qtool/internal/usage"
)

// DataCheck is what [Job.CheckData] finds out about data.
type DataCheck struct {
	Model   string     `json:"model"`
	Context int        `json:"context,omitempty"` // of the model, 0 if it does not tell
	Files   []DataFile `json:"files"`             // to train on, then to evaluate on
	Records Records    `json:"records"`           // to train on
	HeldOut *Records   `json:"evaluation,omitempty"`

	Lengths         []LengthCount `json:"lengths"` // of the examples to train on
	ExactDuplicates int           `json:"exact_duplicates"`
	NearDuplicates  int           `json:"near_duplicates"`
	DuplicatesAt    []string      `json:"duplicates_at,omitempty"` // the first of them

	Run     DataRun `json:"run"`     // that finetune would make of the data
	Seconds float64 `json:"seconds"` // that reading and tokenizing took
	Bytes   int64   `json:"bytes"`   // that were read, after decompression
}

// DataFile is one file of data.
type DataFile struct {
	Path       string `json:"path"`
	Kind       string `json:"kind"` // such as "JSON lines, gzip"
	Evaluation bool   `json:"evaluation,omitempty"`
	Records    int    `json:"records"`
	Bad        int    `json:"bad,omitempty"`
	Bytes      int64  `json:"bytes"`
}

// LengthCount is how many examples have as many positions as To or fewer, and more than
// the next smaller To.
type LengthCount struct {
	To       int `json:"to"`
	Examples int `json:"examples"`
}

// DataRun is how a run would go through data.
type DataRun struct {
	Rows     int    `json:"rows"`
	Seq      int    `json:"tokens_per_row"` // at most
	HeldOut  int    `json:"held_out_examples"`
	Epochs   int    `json:"epochs"`
	Steps    int    `json:"steps"`
	Decision string `json:"chosen,omitempty"` // what was chosen from the data, and why
}

// Unusable is an error if records cannot be used.
func (c *DataCheck) Unusable() error {
	bad := c.Records.Bad
	first := c.Records.BadAt
	if c.HeldOut != nil {
		bad += c.HeldOut.Bad
		first = append(first, c.HeldOut.BadAt...)
	}
	if bad == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s cannot be used, first %s; mend them, or leave them out with --skip-bad", dataset.ErrFormat, printable.Count(bad, "record"), first[0])
}

// CheckData reads the data as [Job.Run] would, with nothing of the base but its header, and
// counts what they give. Records that cannot be used are counted too.
func (j *Job) CheckData(ctx context.Context) (*DataCheck, error) {
	f, err := j.forData()
	if err != nil {
		return nil, err
	}
	defer f.close()
	opts, tok, err := f.reading(ctx)
	if err != nil {
		return nil, err
	}
	opts.SkipBad, opts.KeepPlaces = true, true
	start := time.Now()
	data, eval, err := f.loadData(opts, tok)
	if err != nil {
		return nil, err
	}
	r := &DataCheck{Model: f.report.Model, Context: f.context, Records: data.Report, Seconds: time.Since(start).Seconds(), Lengths: lengthsOf(data.Examples)}
	r.addFiles(data, false)
	if eval != nil {
		r.HeldOut = &eval.Report
		r.addFiles(eval, true)
	}
	d := dataset.FindDuplicates(data.Examples)
	r.ExactDuplicates, r.NearDuplicates = d.Exact, d.Near
	for _, one := range d.First {
		how := "is nearly the same as"
		if one.Exact {
			how = "repeats"
		}
		r.DuplicatesAt = append(r.DuplicatesAt, fmt.Sprintf("%v %s %v", data.Places[one.Index], how, data.Places[one.Of]))
	}
	a := f.arrangement(tok.BOS())
	made := a.Arrange(data, eval)
	r.Run = DataRun{Rows: len(made.Rows), Seq: made.Seq, HeldOut: made.HeldOutExamples, Epochs: made.Epochs, Steps: made.Steps, Decision: chosen(&a, &made)}
	return r, ctx.Err()
}

func (c *DataCheck) addFiles(d *dataset.Data, evaluation bool) {
	for _, file := range d.Files {
		kind := strings.Join(append([]string{file.Container}, strings.Fields(file.Compression)...), ", ")
		c.Files = append(c.Files, DataFile{Path: file.Path, Kind: kind, Evaluation: evaluation, Records: file.Records, Bad: file.Bad, Bytes: file.Bytes})
		c.Bytes += file.Expanded
	}
}

// lengthsOf counts examples by powers of two of their lengths.
func lengthsOf(examples []dataset.Example) []LengthCount {
	const least = 16
	var counts []LengthCount
	for i := range examples {
		class := max(bits.Len(uint(max(examples[i].Len(), 1)-1)), bits.Len(least-1)) - bits.Len(least-1)
		for len(counts) <= class {
			counts = append(counts, LengthCount{To: least << len(counts)})
		}
		counts[class].Examples++
	}
	return counts
}

// ShownExample is an example token by token.
type ShownExample struct {
	Where  string  `json:"where"` // the file, and the line or record
	Tokens []Token `json:"tokens"`
}

// ShowData reads the first records of the data as [Job.Run] would, with nothing of the base
// but its header; 0 is all.
func (j *Job) ShowData(ctx context.Context, records int) ([]ShownExample, error) {
	f, err := j.forData()
	if err != nil {
		return nil, err
	}
	defer f.close()
	opts, tok, err := f.reading(ctx)
	if err != nil {
		return nil, err
	}
	opts.KeepPlaces, opts.First = true, records
	data, _, err := f.loadData(opts, tok)
	if err != nil {
		return nil, err
	}
	for _, text := range append(data.Report.Notes, data.Report.Warnings...) {
		f.note("%s", text)
	}
	shown := make([]ShownExample, len(data.Examples))
	for i := range data.Examples {
		shown[i] = ShownExample{data.Places[i].String(), dataset.Show(&data.Examples[i], tok)}
	}
	return shown, ctx.Err()
}

// forData opens the base as far as data need it.
func (j *Job) forData() (*tuning, error) {
	if err := j.checkRun(); err != nil {
		return nil, err
	}
	f := &tuning{Job: *j, planOnly: true}
	f.report.Model = cmp.Or(f.Model, "embedded")
	if err := f.openModel(); err != nil {
		return nil, err
	}
	if err := f.openVocabulary(); err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

// openVocabulary takes from the base what data need of it, which need not be a whole model.
func (f *tuning) openVocabulary() (err error) {
	f.tok, err = tokenizerOf(f.base)
	switch {
	case err == nil:
		f.vocabulary = f.tok.Size()
	case !errors.Is(err, tokenizer.ErrNoVocab):
		return fmt.Errorf("reading the vocabulary of %s: %w", f.report.Model, err)
	default:
		for _, t := range f.base.Tensors() {
			if t.Name == arch.TokenEmbedding && len(t.Shape) == 2 {
				f.vocabulary = int(t.Shape[1])
			}
		}
	}
	longest := DefaultSeq
	if n, err := model.ContextLength(f.base); err == nil && n > 1 { // files of a vocabulary alone have 1
		longest, f.context = n, n
	}
	if f.Seq == 0 {
		f.Seq, f.chooseSeq = min(longest, DefaultSeq), true
	}
	if f.context > 0 && f.Seq > f.context {
		return usage.Errorf("--seq %d is more than the context of %d that the model was made for", f.Seq, f.context)
	}
	return nil
}

// arrangement is how the data are laid out in rows.
func (f *tuning) arrangement(bos int32) loop.Arrangement {
	return loop.Arrangement{
		Seq: f.Seq, Shorter: f.chooseSeq, BOS: bos, Packing: f.Packing,
		Epochs: f.Config.Epochs, Steps: f.Config.Steps, Batch: f.Config.Batch, Accum: f.Config.GradAccum,
		EvalSplit: f.EvalSplit, EvalTokens: f.Config.EvalTokens, Seed: f.Config.Seed,
	}
}
