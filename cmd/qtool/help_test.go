package main

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

func TestHelpTellsOneDefaultForAFlag(t *testing.T) {
	app := newApp(strings.NewReader(""), &bytes.Buffer{}, &bytes.Buffer{})
	var each func(path []string, commands []*cli.Command)
	each = func(path []string, commands []*cli.Command) {
		for _, c := range commands {
			words := append(path[:len(path):len(path)], c.Name)
			var help bytes.Buffer
			if code := run(context.Background(), append(words, "--help"), strings.NewReader(""), &help, &help); code != exitDone {
				t.Errorf("%v --help: exit code %d", words, code)
			}
			for line := range strings.Lines(help.String()) {
				if strings.Count(line, "(default") > 1 {
					t.Errorf("%v: %s", words, line)
				}
			}
			each(words, c.Subcommands)
		}
	}
	each(nil, app.Commands)
}
