package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/urfave/cli/v2"

	"qtool/internal/printable"
	"qtool/train"
)

func dataCommand() *cli.Command {
	return &cli.Command{
		Name:        "data",
		Usage:       "look at training data before a run",
		UsageText:   "qtool data check|show --model MODEL --data DATA [flags]",
		Subcommands: []*cli.Command{dataCheckCommand(), dataShowCommand()},
	}
}

// lookFlags are the flags of commands that look at data as a run would.
func lookFlags() []cli.Flag {
	return append([]cli.Flag{
		modelFlag(&cli.StringFlag{Name: "model", Aliases: []string{"m"}, Usage: "the `MODEL` that is to learn; only its vocabulary is read (default: embedded)"}),
		preFlag(),
		dataFlag(),
		&cli.IntFlag{Name: "seq", Usage: "most tokens in a row", DefaultText: fmt.Sprintf("the model's context, at most %d", train.DefaultSeq)},
	}, dataFlags()...)
}

// lookJob is a job as far as data are concerned.
func lookJob(c *cli.Context) (*train.Job, error) {
	if _, err := arguments(c); err != nil {
		return nil, err
	}
	j := train.NewJob()
	j.Model, j.Seq = trainedModel(c), c.Int("seq")
	if err := setPre(c, j); err != nil {
		return nil, err
	}
	return j, setData(c, j)
}

func dataCheckCommand() *cli.Command {
	d := train.NewJob().Config
	return &cli.Command{
		Name:  "check",
		Usage: "count what data give to learn, and find what is wrong with them",
		UsageText: `qtool data check --model MODEL --data DATA [flags]

qtool data check --model base-q4.gguf --data chats.jsonl
qtool data check --model base-q4.gguf --data a.jsonl --data b.parquet:2 --json`,
		Description: `Counts records, tokens and what of them is learned, lengths, records that are too
long or have empty answers, duplicates, and tells what finetune would do with them.

Exit code 3 says that some records cannot be used; --skip-bad leaves them out.`,
		Flags: append(lookFlags(),
			&cli.IntFlag{Name: "batch", Value: d.Batch, Usage: "rows computed together"},
			&cli.IntFlag{Name: "grad-accum", Value: d.GradAccum, Usage: "batches whose gradients make one step"},
			&cli.IntFlag{Name: "epochs", Usage: "times to go through the data", DefaultText: "chosen from the data"},
			&cli.Float64Flag{Name: "eval-split", Value: train.NewJob().EvalSplit, Usage: "part of the data to hold out, where there is no evaluation file"},
			jsonFlag()),
		Action: runDataCheck,
	}
}

func runDataCheck(c *cli.Context) error {
	j, err := lookJob(c)
	if err != nil {
		return err
	}
	j.Config.Batch, j.Config.GradAccum, j.Config.Epochs, j.EvalSplit = c.Int("batch"), c.Int("grad-accum"), c.Int("epochs"), c.Float64("eval-split")
	con := newConsole(c)
	j.Observer = train.Observer{Note: con.sayText}
	r, err := j.CheckData(c.Context)
	if err != nil {
		return err
	}
	if con.json {
		err = con.printJSON(r)
	} else {
		err = printDataCheck(con.out, r)
	}
	if err == nil && !j.SkipBad {
		err = r.Unusable()
	}
	return err
}

// printDataCheck prints what was found, one aspect a line.
func printDataCheck(out io.Writer, r *train.DataCheck) error {
	var b strings.Builder
	say := func(label, format string, args ...any) {
		fmt.Fprintf(&b, "%-11s %s\n", label, fmt.Sprintf(format, args...))
	}
	for i, f := range r.Files {
		label := map[bool]string{true: "data", false: ""}[i == 0]
		say(label, "%s: %s, %s%s", printable.Text(f.Path), f.Kind, printable.Count(f.Records, "record"), map[bool]string{true: ", to evaluate on", false: ""}[f.Evaluation])
	}
	k := &r.Records
	say("forms", "%s", formsOf(k.Forms))
	if k.Template != "" {
		say("template", "%s", printable.Text(k.Template))
	}
	say("tokens", "%d in %s, %d of them learned; the longest has %d", k.Tokens, printable.Count(k.Examples, "example"), k.Scored, k.Longest)
	printLengths(say, r.Lengths)
	say("duplicates", "%d exact, %d near", r.ExactDuplicates, r.NearDuplicates)
	for _, d := range r.DuplicatesAt {
		say("", "%s", d)
	}
	say("run", "%s of up to %s, %s held out; %s, %s", printable.Count(r.Run.Rows, "row"), printable.Count(r.Run.Seq, "token"),
		printable.Count(r.Run.HeldOut, "example"), printable.Count(r.Run.Epochs, "epoch"), printable.Count(r.Run.Steps, "step"))
	if r.Run.Decision != "" {
		say("", "%s", r.Run.Decision)
	}
	say("speed", "%.1f MB/s, %.2f million tokens/s", float64(r.Bytes)/1e6/r.Seconds, float64(k.Tokens)/1e6/r.Seconds)
	say("example", "%s", marked(k.Shown))
	for _, n := range k.Notes {
		say("note", "%s", n)
	}
	for _, w := range k.Warnings {
		say("warning", "%s", w)
	}
	if r.HeldOut != nil {
		for _, w := range r.HeldOut.Warnings {
			say("warning", "in the evaluation data: %s", w)
		}
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// printLengths prints how many examples are how long, with bars.
func printLengths(say func(label, format string, args ...any), lengths []train.LengthCount) {
	most := 0
	for _, l := range lengths {
		most = max(most, l.Examples)
	}
	const width = 40
	for i, l := range lengths {
		bar := strings.Repeat("#", (l.Examples*width+most-1)/most)
		say(map[bool]string{true: "lengths", false: ""}[i == 0], "up to %6d tokens  %-*s %d", l.To, width, bar, l.Examples)
	}
}

func dataShowCommand() *cli.Command {
	return &cli.Command{
		Name:  "show",
		Usage: "print examples token by token, with what is learned of them",
		UsageText: `qtool data show --model MODEL --data DATA [flags]

qtool data show --model base-q4.gguf --data chats.jsonl -n 2
qtool data show --model base-q4.gguf --data chats.jsonl --json`,
		Description: `Tokens are set apart by │. What is learned is in colour on a terminal, and within [[ ]]
elsewhere or with NO_COLOR.`,
		Flags: append(lookFlags(),
			&cli.IntFlag{Name: "count", Aliases: []string{"n"}, Value: 5, Usage: "print the examples of the first `N` records; 0 is all"},
			jsonFlag()),
		Action: runDataShow,
	}
}

func runDataShow(c *cli.Context) error {
	j, err := lookJob(c)
	if err != nil {
		return err
	}
	if c.Int("count") < 0 {
		return usagef("data show: --count %d: expected 0 or more", c.Int("count"))
	}
	con := newConsole(c)
	j.Observer = train.Observer{Note: con.sayText}
	shown, err := j.ShowData(c.Context, c.Int("count"))
	if err != nil {
		return err
	}
	if con.json {
		return con.printJSON(struct {
			Examples []train.ShownExample `json:"examples"`
		}{shown})
	}
	look := plainLook
	if isTerminal(con.out) && os.Getenv("NO_COLOR") == "" {
		look = colouredLook
	}
	for i := range shown {
		if err := look.print(con, &shown[i]); err != nil {
			return err
		}
	}
	return nil
}

// look is how tokens are set apart from each other, and learned ones from others. Its texts
// may hold sequences for the terminal; the tokens between them are escaped.
type look struct{ begin, end, between string }

var (
	plainLook    = look{"[[", "]]", "│"}
	colouredLook = look{"\x1b[1;32m", "\x1b[0m", "\x1b[2m│\x1b[22m"}
)

func (l look) print(con *console, e *train.ShownExample) error {
	learned := 0
	for _, t := range e.Tokens {
		if t.Scored {
			learned++
		}
	}
	if _, err := fmt.Fprintf(con.out, "%s: %s, %d learned\n", printable.Text(e.Where), printable.Count(len(e.Tokens), "token"), learned); err != nil {
		return err
	}
	var b strings.Builder
	within := false
	for i, t := range e.Tokens {
		if within && !t.Scored {
			b.WriteString(l.end)
		}
		if i > 0 {
			b.WriteString(l.between)
		}
		if t.Scored && !within {
			b.WriteString(l.begin)
		}
		within = t.Scored
		b.WriteString(shownText(t.Text))
		if t.Weight != 0 {
			fmt.Fprintf(&b, "(×%g)", t.Weight)
		}
	}
	if within {
		b.WriteString(l.end)
	}
	b.WriteString("\n\n")
	_, err := io.WriteString(con.styled(), b.String())
	return err
}

// shownText is a token's text in which a line end is shown and ends a line, bytes of a
// character that several tokens share are numbers, and nothing steers the terminal.
func shownText(text string) string {
	var b strings.Builder
	for len(text) > 0 {
		r, n := utf8.DecodeRuneInString(text)
		switch {
		case r == '\n':
			b.WriteString("⏎\n")
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, "<0x%02X>", text[0])
		default:
			b.WriteString(printable.Escape(text[:n]))
		}
		text = text[n:]
	}
	return b.String()
}
