package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/mattn/go-runewidth"
	"golang.org/x/term"

	"qtool/internal/infer"
	"qtool/internal/printable"
)

// comparison is the JSON of generate --compare.
type comparison struct {
	Base    generateReport `json:"base"`
	Adapted generateReport `json:"adapted"`
}

// compare prints what the model at path says without its adapters, and with them.
func (g *generating) compare(path string) error {
	if len(g.adapters.List) == 0 {
		return usagef("generate: --compare shows what adapters change; name one with --lora")
	}
	titles := [2]string{filepath.Base(path), "with " + g.adapterNames()}
	width, sideBySide := columns(g.con.out)
	var results [2]infer.Generation
	for i := range results {
		if err := g.adapt(i == 1); err != nil {
			return err
		}
		var err error
		if results[i], err = g.side(titles[i], i == 1, sideBySide); err != nil {
			return err
		}
	}
	switch {
	case g.con.json:
		return g.con.printJSON(comparison{describeGeneration(g.text, results[0]), describeGeneration(g.text, results[1])})
	case sideBySide:
		return printColumns(g.con.out, width, titles, [2]string{results[0].Text, results[1].Text})
	}
	return nil
}

// side generates one of the texts. Where they do not stand side by side it is printed as it comes.
func (g *generating) side(title string, second, sideBySide bool) (infer.Generation, error) {
	if g.con.json || sideBySide {
		bar := g.con.progress()
		defer bar.Done()
		most := g.decoder.Context - len(g.ids)
		if g.opt.MaxTokens >= 0 {
			most = min(most, g.opt.MaxTokens)
		}
		bar.Start(int64(most), "tokens", printable.Text(title))
		return g.session().Generate(g.c.Context, g.ids, g.opt, func(string) { bar.Add(1) })
	}
	if second {
		fmt.Fprintln(g.con.out)
	}
	fmt.Fprintf(g.con.out, "%s:\n", title)
	r, err := streamTo(g.c.Context, g.con, func(ctx context.Context, emit func(string)) (infer.Generation, error) {
		return g.session().Generate(ctx, g.ids, g.opt, emit)
	})
	fmt.Fprintln(g.con.out)
	if err == nil {
		g.sayHow(r)
	}
	return r, err
}

// adapt binds the adapters as they were asked for, or none.
func (g *generating) adapt(with bool) error {
	strengths := make([]float32, len(g.adapters.List))
	for i, a := range g.adapters.List {
		strengths[i] = a.Strength
		if !with {
			a.Strength = 0
		}
	}
	err := g.adapters.Apply()
	for i, a := range g.adapters.List {
		a.Strength = strengths[i]
	}
	return err
}

// adapterNames lists the adapters with their strengths.
func (l *loaded) adapterNames() string {
	var names []string
	for _, a := range l.adapters.List {
		name := printable.Text(filepath.Base(a.Path))
		if a.Strength != 1 {
			name += fmt.Sprintf(":%g", a.Strength)
		}
		names = append(names, name)
	}
	return strings.Join(names, ", ")
}

// leastWidth is the width of a terminal on which two texts are read side by side.
const leastWidth = 60

// columns is the width of the terminal that out is, if that is enough for two columns.
func columns(out io.Writer) (width int, enough bool) {
	f, ok := unwrapped(out).(interface{ Fd() uintptr })
	if !ok || !isTerminal(out) {
		return 0, false
	}
	width, _, err := term.GetSize(int(f.Fd()))
	return width, err == nil && width >= leastWidth
}

// printColumns prints two texts side by side in a terminal of some width.
func printColumns(out io.Writer, width int, titles, texts [2]string) error {
	const between = " │ "
	column := (width - runewidth.StringWidth(between) - 1) / 2
	var lines [2][]string
	for i := range lines {
		lines[i] = append([]string{runewidth.Truncate(titles[i], column, "…"), strings.Repeat("─", column)}, wrapped(texts[i], column)...)
	}
	var b strings.Builder
	for i := range max(len(lines[0]), len(lines[1])) {
		var line [2]string
		for k := range line {
			if i < len(lines[k]) {
				line[k] = lines[k][i]
			}
		}
		b.WriteString(strings.TrimRight(runewidth.FillRight(line[0], column)+between+line[1], " ") + "\n")
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// wrapped cuts a text into lines of at most some columns, between words where it can.
func wrapped(text string, width int) (lines []string) {
	text = strings.ReplaceAll(strings.ToValidUTF8(strings.TrimSpace(text), "\ufffd"), "\t", "    ")
	for paragraph := range strings.SplitSeq(text, "\n") {
		line := ""
		for word := range strings.SplitSeq(paragraph, " ") {
			joined := line + " " + word
			if line == "" {
				joined = word
			}
			if runewidth.StringWidth(joined) <= width {
				line = joined
				continue
			}
			if line != "" {
				lines = append(lines, line)
			}
			for line = word; runewidth.StringWidth(line) > width; {
				head := cmp.Or(runewidth.Truncate(line, width, ""), line[:utf8.RuneLen([]rune(line)[0])])
				lines, line = append(lines, head), line[len(head):]
			}
		}
		lines = append(lines, line)
	}
	return lines
}
