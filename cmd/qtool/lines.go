package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"

	"golang.org/x/term"

	"qtool/internal/panics"
)

// lines are what a user types, or what another program writes.
type lines interface {
	// next reads a line without its end; more tells that it continues a message. It returns io.EOF
	// at the end.
	next(more bool) (string, error)
	// live tells that somebody is typing.
	live() bool
}

// newLines reads standard input.
func newLines(ctx context.Context, con *console) lines {
	in, isFile := con.in.(*os.File)
	if live := isFile && isTerminal(in); live {
		for _, out := range []io.Writer{con.err, con.out} {
			if w, ok := unwrapped(out).(io.Writer); ok && isTerminal(w) {
				return newTerminalLines(ctx, in, w)
			}
		}
		return &plainLines{scanner: newScanner(ctx, in), typed: true}
	}
	return &plainLines{scanner: newScanner(ctx, con.in)}
}

// longestLine is the most bytes of a line.
const longestLine = 16 << 20

func newScanner(ctx context.Context, in io.Reader) *bufio.Scanner {
	s := bufio.NewScanner(&stdinReader{ctx: ctx, in: in})
	s.Buffer(nil, longestLine)
	return s
}

// plainLines are those of a file or another program, or typed where nothing can be shown.
type plainLines struct {
	scanner *bufio.Scanner
	typed   bool
}

func (l *plainLines) live() bool { return l.typed }

func (l *plainLines) next(bool) (string, error) {
	if l.scanner.Scan() {
		return strings.TrimSuffix(l.scanner.Text(), "\r"), nil
	}
	err := l.scanner.Err()
	if errors.Is(err, bufio.ErrTooLong) {
		return "", usagef("standard input has a line of more than %d MiB; expected a message a line", longestLine>>20)
	}
	if err != nil {
		return "", fmt.Errorf("reading standard input: %w", err)
	}
	return "", io.EOF
}

// terminalLines are typed on a terminal, with editing, history and pasting. The terminal is in raw
// mode only while a line is awaited, so that Ctrl-C is a signal while an answer comes.
type terminalLines struct {
	ctx         context.Context
	in          *os.File
	out         io.Writer
	editor      *term.Terminal
	interrupted atomic.Bool // Ctrl-C was typed
}

func newTerminalLines(ctx context.Context, in *os.File, out io.Writer) *terminalLines {
	l := &terminalLines{ctx: ctx, in: in, out: out}
	l.editor = term.NewTerminal(l, "")
	return l
}

func (l *terminalLines) live() bool { return true }

// Read reads keys for the editor, and looks for Ctrl-C, which the editor takes for the end.
func (l *terminalLines) Read(p []byte) (int, error) {
	const ctrlC = 3
	n, err := l.in.Read(p)
	if bytes.IndexByte(p[:n], ctrlC) >= 0 {
		l.interrupted.Store(true)
	}
	return n, err
}

func (l *terminalLines) Write(p []byte) (int, error) { return l.out.Write(p) }

func (l *terminalLines) next(more bool) (string, error) {
	before, err := term.MakeRaw(int(l.in.Fd()))
	if err != nil {
		return "", fmt.Errorf("reading the terminal: %w", err)
	}
	defer term.Restore(int(l.in.Fd()), before)
	if width, height, err := term.GetSize(int(l.in.Fd())); err == nil && width > 0 && height > 0 {
		l.editor.SetSize(width, height)
	}
	l.editor.SetBracketedPasteMode(true)
	defer l.editor.SetBracketedPasteMode(false)
	l.editor.SetPrompt(map[bool]string{true: ". ", false: "> "}[more])
	var text string
	read := panics.Go(func() { text, err = l.message() })
	select {
	case p := <-read:
		p.Raise()
	case <-l.ctx.Done(): // the read is left behind; the program ends
		io.WriteString(l.out, "\r\n")
		return "", l.ctx.Err()
	}
	if err == io.EOF {
		io.WriteString(l.out, "\r\n")
		if l.interrupted.Load() {
			return "", errInterrupted
		}
	}
	return text, err
}

// message is a line; lines that are pasted are one with what is typed behind them.
func (l *terminalLines) message() (string, error) {
	var pasted strings.Builder
	for {
		line, err := l.editor.ReadLine()
		pasted.WriteString(line)
		if !errors.Is(err, term.ErrPasteIndicator) {
			return pasted.String(), err
		}
		pasted.WriteByte('\n')
		l.editor.SetPrompt(". ")
	}
}
