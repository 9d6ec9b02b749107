package main

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"qtool/internal/printable"
)

// consoleFlags are the flags that every command has.
func consoleFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "print nothing to stderr but errors"},
		&cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}, Usage: "tell more on stderr"},
	}
}

func jsonFlag() cli.Flag {
	return &cli.BoolFlag{Name: "json", Usage: "print one JSON object to stdout"}
}

func threadsFlag() cli.Flag {
	return &cli.IntFlag{Name: "threads", Aliases: []string{"t"}, Usage: "compute with `N` threads", DefaultText: "all of the CPU's",
		Action: func(_ *cli.Context, n int) error {
			if n < 1 || n > 1024 {
				return usagef("--threads %d: expected 1 to 1024", n)
			}
			return nil
		}}
}

// console is where a command reads and prints: data to out, all else to err. Both
// escape what could steer a terminal.
type console struct {
	in                   io.Reader
	out, err             io.Writer
	quiet, verbose, json bool
}

func newConsole(c *cli.Context) *console {
	return &console{
		in: c.App.Reader, out: c.App.Writer, err: c.App.ErrWriter,
		quiet: c.Bool("quiet"), verbose: c.Bool("verbose"), json: c.Bool("json"),
	}
}

// say prints a line of remark unless the user wants quiet.
func (c *console) say(format string, args ...any) {
	if !c.quiet {
		fmt.Fprintf(c.err, format+"\n", args...)
	}
}

// sayText is say for a text that is no format.
func (c *console) sayText(text string) { c.say("%s", text) }

// detail prints a line that only --verbose shows.
func (c *console) detail(format string, args ...any) {
	if c.verbose {
		c.say(format, args...)
	}
}

// printJSON prints v as data.
func (c *console) printJSON(v any) error {
	e := c.encoder()
	e.SetIndent("", " ")
	return e.Encode(v)
}

// printJSONLine prints v as data on a line of its own, for commands that print several.
func (c *console) printJSONLine(v any) error { return c.encoder().Encode(v) }

func (c *console) encoder() *json.Encoder {
	e := json.NewEncoder(c.out)
	e.SetEscapeHTML(false)
	return e
}

// text is where a model's own text goes: as it is, so that a file or another program
// gets the bytes that the model made, but escaped like all else on a terminal.
func (c *console) text() io.Writer {
	if w, ok := c.out.(*printable.Writer); ok && !isTerminal(w) {
		return w.Raw()
	}
	return c.out
}

// styled is where text goes that steers the terminal on purpose and is escaped elsewhere.
func (c *console) styled() io.Writer {
	if w, ok := c.out.(*printable.Writer); ok {
		return w.Raw()
	}
	return c.out
}

// isTerminal reports whether v, a reader or a writer, is a terminal.
func isTerminal(v any) bool {
	f, ok := unwrapped(v).(interface{ Fd() uintptr })
	return ok && term.IsTerminal(int(f.Fd()))
}

// unwrapped is the writer that a [printable.Writer] writes to, and any other v itself.
func unwrapped(v any) any {
	if w, ok := v.(*printable.Writer); ok {
		return w.Unwrap()
	}
	return v
}

func forceFlag() cli.Flag {
	return &cli.BoolFlag{Name: "force", Usage: "start although memory is too small"}
}
