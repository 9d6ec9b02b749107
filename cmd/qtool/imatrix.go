package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"qtool/gguf"
	"qtool/internal/atomicfile"
	"qtool/internal/budget"
	"qtool/internal/infer"
	"qtool/internal/kernel/product"
	"qtool/internal/outputs"
	"qtool/internal/source"
	"qtool/internal/tokenizer"
	"qtool/quantize/imatrix"
)

func imatrixCommand() *cli.Command {
	return &cli.Command{
		Name:  "imatrix",
		Usage: "measure which columns of a model's weights matter for a text",
		UsageText: `qtool imatrix MODEL --data FILE [-o imatrix.gguf] [flags]
qtool imatrix --in-file A --in-file B -o merged.gguf

qtool imatrix model-f16.gguf --data calibration.txt -o imatrix.gguf
qtool quantize --type IQ2_M --imatrix imatrix.gguf model-f16.gguf model-iq2.gguf`,
		Description: `Runs the text through MODEL and sums the squares of what each column of each weight
is multiplied with, for experts separately. The method and the files are those of
llama-imatrix: the text is cut into chunks, each beginning with BOS in place of its
first token if the model adds one.

A run that was interrupted leaves OUT.progress, from which --resume goes on to the
same result; OUT itself appears when it is complete. qtool inspect describes it.`,
		Flags: []cli.Flag{
			inputFlag(&cli.StringFlag{Name: "data", Aliases: []string{"f"}, Usage: "run the text of `FILE`; \"-\" is standard input"}),
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Value: "imatrix.gguf", Usage: "write to `OUT`; the legacy form if it ends in .dat"},
			&cli.BoolFlag{Name: "legacy", Usage: "write the legacy form, whatever the name"},
			inputsFlag(&cli.StringSliceFlag{Name: "in-file", Usage: "add what is in the imatrix `FILE`, in either form; may be repeated"}),
			&cli.IntFlag{Name: "chunk-size", Aliases: []string{"ctx-size", "c"}, Usage: "chunks of `N` tokens", DefaultText: "512, or the model's context if that is less"},
			&cli.IntFlag{Name: "chunks", Usage: "run `N` chunks at most", DefaultText: "all"},
			&cli.IntFlag{Name: "from-chunk", Aliases: []string{"chunk"}, Usage: "leave out the first `N` chunks of the text"},
			&cli.BoolFlag{Name: "process-output", Usage: "collect for the output head too"},
			&cli.BoolFlag{Name: "parse-special", Usage: "take the spelling of control tokens in the text for those tokens"},
			&cli.BoolFlag{Name: "no-ppl", Usage: "do not compute the perplexity, which saves time"},
			&cli.IntFlag{Name: "save-every", Value: 10, Usage: "save what --resume needs every `N` chunks; 0: only when interrupted"},
			&cli.BoolFlag{Name: "resume", Usage: "continue an interrupted run"},
			adapterFlag(),
			preFlag(),
			threadsFlag(),
			forceFlag(),
			jsonFlag(),
		},
		Action: runImatrix,
	}
}

func runImatrix(c *cli.Context) error {
	args, err := arguments(c, "[MODEL]")
	if err != nil {
		return err
	}
	for _, flag := range []string{"chunk-size", "chunks", "from-chunk", "save-every"} {
		if c.Int(flag) < 0 {
			return usagef("imatrix: --%s cannot be negative", flag)
		}
	}
	data, merge := c.String("data"), c.StringSlice("in-file")
	switch {
	case data == "" && len(merge) == 0:
		return usagef("imatrix: --data is missing; without it --in-file can merge or convert files")
	case data == "" && len(args) > 0:
		return usagef("imatrix: --data is missing; merging files with --in-file needs no MODEL")
	case data == "" && c.IsSet("lora"):
		return usagef("imatrix: --lora is about running a MODEL, and --in-file runs none")
	case data == "":
		return mergeImatrix(c, merge)
	case len(args) == 0:
		return usagef("imatrix: MODEL is missing; usage: qtool imatrix MODEL --data FILE")
	}
	return collectImatrix(c, args[0], data, merge)
}

// mergeImatrix makes one file of several without running a model.
func mergeImatrix(c *cli.Context, paths []string) error {
	if err := outputs.Check(nil, c.String("output")); err != nil {
		return err
	}
	m, err := readMerged(paths, c.Int("chunk-size"))
	if err != nil {
		return err
	}
	report := &imatrixReport{matrix: m}
	if err := writeImatrix(c.Context, c, report); err != nil {
		return err
	}
	return report.print(newConsole(c))
}

// readMerged reads files into one matrix that counts tokens, in chunks of that size; 0
// is the first file's own.
func readMerged(paths []string, chunkSize int) (*imatrix.Matrix, error) {
	var all *imatrix.Matrix
	for _, path := range paths {
		m, err := imatrix.Read(path)
		if err != nil {
			return nil, fmt.Errorf("--in-file: %w", err)
		}
		if all == nil {
			if chunkSize == 0 {
				chunkSize = m.ChunkSize
			}
			if chunkSize == 0 {
				chunkSize = 512 // what the legacy form leaves open
			}
			all = imatrix.New(chunkSize)
		}
		if err := m.CountTokens(chunkSize); err != nil {
			return nil, fmt.Errorf("--in-file %s: %w", path, err)
		}
		if err := all.Merge(m); err != nil {
			return nil, fmt.Errorf("--in-file %s: %w", path, err)
		}
	}
	return all, nil
}

// collection is a run of imatrix over a text.
type collection struct {
	ctx     context.Context
	flags   *cli.Context
	con     *console
	file    source.Model
	session *infer.Session
	tokens  []int32
	opt     infer.ImportanceOptions

	progress string     // the file that an interrupted run leaves
	left     *gguf.File // what one has left, to be continued; or nil
	id       string
	run      *infer.Importance
	saved    int                     // run.Next when it was saved last
	held     *atomicfile.Reservation // the space of the output
}

func collectImatrix(c *cli.Context, path, data string, merge []string) error {
	r := &collection{
		ctx: c.Context, flags: c, con: newConsole(c), progress: c.String("output") + ".progress",
		opt: infer.ImportanceOptions{
			First: c.Int("from-chunk"), Chunks: c.Int("chunks"), Output: c.Bool("process-output"), NoPerplexity: c.Bool("no-ppl"),
		},
	}
	text, err := r.look(path, data, merge)
	if err != nil {
		return err
	}
	if r.left != nil {
		defer r.left.Close()
	}
	from, err := modelSource(c, path)
	if err != nil {
		return err
	}
	l, err := loadForRun(c, r.con, from, c.StringSlice("lora"), func(l *loaded) (err error) {
		r.tokens, err = l.checkText(text, tokenizer.EncodeOptions{AddSpecial: true, ParseSpecial: c.Bool("parse-special")}, func(tokens, context int) error {
			return infer.CheckImportance(tokens, context, c.Int("chunk-size"), r.opt)
		})
		return err
	})
	if err != nil {
		return err
	}
	defer l.Close()
	if _, err := l.tokenizer(); err != nil {
		return err
	}
	if err := r.checkMemory(l); err != nil {
		return err
	}
	r.file, r.session = l.file, l.session()
	if err := r.begin(data, merge); err != nil {
		return err
	}
	defer func() { r.held.Release() }()
	start, first := time.Now(), r.run.Next
	if err := r.collect(); err != nil {
		return err
	}
	report := &imatrixReport{matrix: r.run.Matrix, Tokens: (r.run.Next - max(first, r.opt.First)) * r.run.Matrix.ChunkSize}
	report.Seconds = time.Since(start).Seconds()
	if p := r.run.Perplexity(); p.Scored > 0 {
		report.perplexityOf = &perplexityOf{p.Value, p.Error, p.NLL}
	}
	r.held.Release()
	// An interruption would have to write as much to save the progress.
	if err := writeImatrix(context.WithoutCancel(c.Context), c, report); err != nil {
		return err
	}
	// Nothing is left to be continued, even if the report cannot be printed.
	if err := atomicfile.Remove(r.progress); err != nil {
		return fmt.Errorf("removing the progress of this run: %w", err)
	}
	return report.print(newConsole(c))
}

// checkMemory refuses chunks that do not fit.
func (r *collection) checkMemory(l *loaded) error {
	run, err := l.session().NewImportance(r.flags.Int("chunk-size"))
	if err != nil {
		return err
	}
	needs := func(pool *product.Pool, n int, most int64) infer.Memory {
		m := infer.NewSession(l.decoder, l.tokens, pool).ImportanceMemory(l.file, n, r.opt, most)
		if writesLegacy(r.flags) { // that form is made in memory
			m.Results += infer.ImportanceBytes(l.file, r.opt)
		}
		return m
	}
	n := run.Matrix.ChunkSize
	otherwise := "no smaller --chunk-size makes that fit: " + budget.ModelTooLarge
	if len(r.flags.StringSlice("in-file")) > 0 || r.left != nil { // chunks have the size they had
		return checkRunning(l.memory, r.flags.Int("threads"), running{size: n, needs: needs, otherwise: budget.ModelTooLarge})
	}
	return checkRunning(l.memory, r.flags.Int("threads"), running{
		size: n, needs: needs, smaller: windowsBelow(n), advice: "with --chunk-size %d", otherwise: otherwise,
	})
}

// look finds out what can go wrong before the model is opened, and reads the text.
func (r *collection) look(path, data string, merge []string) (text string, err error) {
	if err := outputs.Check(slices.Concat(source.Paths(path), scaledPaths(r.flags.StringSlice("lora")), []string{data}), r.flags.String("output"), r.progress); err != nil {
		return "", err
	}
	if r.left, err = openProgress(r.progress, r.flags.Bool("resume")); err != nil {
		return "", err
	}
	if r.left == nil && r.flags.Bool("resume") {
		r.con.say("there is no %s to continue; beginning anew", r.progress)
	}
	for _, in := range merge {
		f, err := imatrix.Open(in)
		if err != nil {
			return "", fmt.Errorf("--in-file: %w", err)
		}
		f.Close()
	}
	return readText(r.ctx, r.con, "data", data)
}

// openProgress opens what an interrupted run left at path; nil if nothing is there.
func openProgress(path string, resume bool) (*gguf.File, error) {
	_, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, nil
	case err == nil && !resume:
		return nil, usagef("an interrupted run left %s: continue it with --resume, or delete it", path)
	}
	return gguf.Open(path)
}

// begin prepares a new run, or the one that --resume continues.
func (r *collection) begin(data string, merge []string) (err error) {
	if r.run, err = r.session.NewImportance(r.flags.Int("chunk-size")); err != nil {
		return err
	}
	if len(merge) > 0 {
		if r.run.Matrix, err = readMerged(merge, r.run.Matrix.ChunkSize); err != nil {
			return err
		}
	}
	if data == "-" {
		data = "standard input"
	}
	r.run.Matrix.Datasets = append(r.run.Matrix.Datasets, data)
	if r.id, err = r.session.ImportanceID(r.ctx, r.file, r.tokens, r.run, r.opt); err != nil {
		return err
	}
	if err := r.holdSpace(); err != nil || r.left == nil {
		return err
	}
	run, err := infer.ResumeImportance(r.left, r.id)
	if errors.Is(err, infer.ErrOtherImportance) {
		return usagef("%s was left by a run with another model, adapter, text or setting; name another output, or delete it", r.progress)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", r.progress, err)
	}
	r.run, r.saved = run, run.Next
	return nil
}

// holdSpace makes sure that there is room for the result and for what an interruption
// leaves, and holds that of the result.
func (r *collection) holdSpace() (err error) {
	output, size := r.flags.String("output"), infer.ImportanceBytes(r.file, r.opt)
	if err := checkSpace(need{output, size}, need{r.progress, size}); err != nil {
		return err
	}
	r.held, err = atomicfile.Reserve(output, size)
	return err
}

// collect runs the text and saves on the way, and when it is interrupted.
func (r *collection) collect() error {
	bar := r.con.progress()
	defer bar.Done()
	started, every := false, r.flags.Int("save-every")
	r.opt.Progress = func(run *infer.Importance, total int) error {
		done := run.Next - r.opt.First
		if !started {
			started = true
			bar.Start(int64(total), "chunks", "imatrix")
		}
		if p := run.Perplexity(); p.Scored > 0 {
			bar.Remark("perplexity %.4f", p.Value)
		}
		bar.Set(int64(done))
		if every > 0 && run.Next-r.saved >= every && done < total {
			return r.save()
		}
		return nil
	}
	err := r.session.CollectImportance(r.ctx, r.tokens, r.run, r.opt)
	if err == nil || r.ctx.Err() == nil || r.run.Next == r.opt.First || !started {
		return err
	}
	if r.run.Next != r.saved {
		if saveErr := r.save(); saveErr != nil {
			return errors.Join(err, saveErr)
		}
	}
	bar.Done()
	r.con.say("%d chunks are saved in %s; --resume continues from there", r.run.Next-r.opt.First, r.progress)
	return err
}

// save keeps what was collected so far, also after an interruption.
func (r *collection) save() error {
	err := gguf.WriteFile(context.WithoutCancel(r.ctx), r.progress, r.run.Model(r.id))
	if err != nil {
		return fmt.Errorf("saving the progress: %w", err)
	}
	r.saved = r.run.Next
	return nil
}
