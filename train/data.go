package train

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"strings"

	"qtool/fixtures"
	"qtool/internal/chat"
	"qtool/internal/dataset"
	"qtool/internal/loop"
	"qtool/internal/printable"
)

func (f *tuning) readData(ctx context.Context) error {
	opts, tok, err := f.reading(ctx)
	if err != nil {
		return err
	}
	data, eval, err := f.loadData(opts, tok)
	if err != nil {
		return err
	}
	f.report.Records = data.Report
	if eval != nil {
		for _, text := range eval.Report.Warnings {
			f.warn("in the evaluation data: %s", text)
		}
	}
	f.arrange(data, eval, tok.BOS())
	return nil
}

// reading is how the data are read, until ctx ends.
func (f *tuning) reading(ctx context.Context) (opts dataset.Options, tok dataset.Tokenizer, err error) {
	opts = dataset.Options{
		Seq: f.Seq, Context: f.context, Truncate: f.Truncate, SplitText: f.SplitText,
		TextField: f.TextField, PromptField: f.PromptField, CompletionField: f.CompletionField, Threads: f.Threads,
		Ended: ctx.Err,
	}
	if err := f.DataOptions.options(&opts); err != nil {
		return opts, nil, err
	}
	if f.tok == nil {
		return opts, dataset.Untokenized(f.vocabulary), nil
	}
	err = f.useTemplate(&opts)
	f.template, _ = opts.Template.(*chat.Template)
	return opts, dataset.ForTokenizer(f.tok), err
}

// loadData reads the data; eval is nil without an evaluation file.
func (f *tuning) loadData(opts dataset.Options, tok dataset.Tokenizer) (data, eval *dataset.Data, err error) {
	if len(f.Data) == 0 {
		f.report.Data = "embedded"
		data, err = dataset.Read(strings.NewReader(fixtures.FineTuneJSONL), "embedded.jsonl", tok, opts)
		return data, nil, err
	}
	if err := f.findData(); err != nil {
		return nil, nil, err
	}
	f.report.Data = strings.Join(f.Data, " ")
	stdin := f.Stdin
	if stdin != nil {
		f.stdinHash = sha256.New()
		stdin = io.TeeReader(stdin, f.stdinHash)
	}
	return dataset.Load(f.set, stdin, tok, opts)
}

// arrange lays the data out in rows, and chooses what was left open of that.
func (f *tuning) arrange(data, eval *dataset.Data, bos int32) {
	a := f.arrangement(bos)
	made := a.Arrange(data, eval)
	f.rows, f.heldOut, f.withheld = made.Rows, made.HeldOut, made.Withheld
	f.Seq, f.Config.Epochs = made.Seq, made.Epochs
	f.report.Records.Examples = made.Examples
	f.report.Evaluated = Evaluated{Examples: made.Evaluated, Of: made.HeldOutExamples}
	for i := range f.heldOut {
		f.report.Evaluated.Tokens += f.heldOut[i].Len()
	}
	if f.report.Chosen = chosen(&a, &made); f.report.Chosen != "" {
		f.note("%s", f.report.Chosen)
	}
}

// chosen says what was chosen of an arrangement from the data, and why; "" if nothing was
// left open.
func chosen(asked *loop.Arrangement, made *loop.Arranged) string {
	var what, flags []string
	if asked.Shorter || asked.Packing == PackingAuto {
		what = append(what, fmt.Sprintf("rows of up to %s, %s", printable.Count(made.Seq, "token"),
			map[bool]string{true: "several examples in one", false: "one example in each"}[made.Packed]))
	}
	if asked.Shorter {
		flags = append(flags, "--seq")
	}
	if asked.Packing == PackingAuto {
		flags = append(flags, map[bool]string{true: "--no-packing", false: "--packing"}[made.Packed])
	}
	if asked.Epochs == 0 {
		what, flags = append(what, printable.Count(made.Epochs, "epoch")), append(flags, "--epochs")
	}
	if len(what) == 0 || asked.Steps > 0 { // with so many steps, rows are as full as can be
		return ""
	}
	text := fmt.Sprintf("chosen from the data: %s: %s", strings.Join(what, ", "), printable.Count(made.Steps, "optimizer step"))
	if made.Standard < made.Steps {
		text += fmt.Sprintf("; %s of full rows would make only %d", printable.Count(loop.DefaultEpochs, "epoch"), made.Standard)
	}
	return fmt.Sprintf("%s (%s choose otherwise)", text, strings.Join(flags, ", "))
}
