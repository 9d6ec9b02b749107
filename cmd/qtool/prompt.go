package main

import (
	"encoding/hex"
	"strings"

	"github.com/urfave/cli/v2"
)

// promptFlag is --prompt. A command that has it has noEscapeFlag too.
func promptFlag(usage string) cli.Flag {
	return &cli.StringFlag{Name: "prompt", Aliases: []string{"p"}, Usage: usage + "; \"-\" reads it from standard input"}
}

// noEscapeFlag belongs to commands with flags whose escapes are read.
func noEscapeFlag(flags string) cli.Flag {
	return &cli.BoolFlag{Name: "no-escape", Usage: `take \n, \t, \" and other escapes in ` + flags + " as they are written"}
}

// promptOf is the prompt that --prompt gives.
func promptOf(c *cli.Context, con *console) (string, error) {
	switch prompt := c.String("prompt"); {
	case !c.IsSet("prompt"):
		return "", usagef("%s: --prompt is missing", c.Command.Name)
	case prompt == "-":
		return readInput(c.Context, con, "-")
	default:
		return escaped(c, prompt), nil
	}
}

// escaped is a prompt of the command line with its escapes read, unless --no-escape.
func escaped(c *cli.Context, prompt string) string {
	if c.Bool("no-escape") {
		return prompt
	}
	return readEscapes(prompt)
}

// readEscapes reads the escapes that llama.cpp's tools read in a prompt: \n, \r, \t, \',
// \", \\ and \xHH. Any other backslash stays.
func readEscapes(s string) string {
	known := map[byte]byte{'n': '\n', 'r': '\r', 't': '\t', '\'': '\'', '"': '"', '\\': '\\'}
	var b strings.Builder
	for {
		at := strings.IndexByte(s, '\\')
		if at < 0 || at+1 == len(s) {
			b.WriteString(s)
			return b.String()
		}
		b.WriteString(s[:at])
		length := 2
		if c, ok := known[s[at+1]]; ok {
			b.WriteByte(c)
		} else if code, err := hex.DecodeString(s[at+2 : min(at+4, len(s))]); s[at+1] == 'x' && err == nil && len(code) == 1 {
			b.Write(code)
			length = 4
		} else {
			b.WriteString(s[at : at+2])
		}
		s = s[at+length:]
	}
}
