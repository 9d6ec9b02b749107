package main

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"qtool/internal/tokenizer"
)

func tokenizeCommand() *cli.Command {
	return &cli.Command{
		Name:  "tokenize",
		Usage: "turn text into token ids",
		UsageText: `qtool tokenize MODEL [TEXT]

qtool tokenize model.gguf "Hello, world"
qtool tokenize --ids model.gguf < book.txt`,
		Description: "Without TEXT, standard input is read. A TEXT that begins with a dash goes after \"--\".",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "ids", Usage: "print the ids alone, on one line, as logits --tokens takes them"},
			&cli.BoolFlag{Name: "no-bos", Usage: "leave out BOS and EOS, which the model may ask for"},
			&cli.BoolFlag{Name: "parse-special", Usage: "let the texts of special tokens stand for those tokens"},
			preFlag(),
			jsonFlag(),
		},
		Action: runTokenize,
	}
}

// tokenReport is one token in the JSON of tokenize.
type tokenReport struct {
	ID    int32  `json:"id"`
	Piece string `json:"piece"`
	Start int    `json:"start"` // the byte of the text at which it begins
}

func runTokenize(c *cli.Context) error {
	args, err := arguments(c, "MODEL", "[TEXT]")
	if err != nil {
		return err
	}
	con := newConsole(c)
	m, err := openToRead(c, args[0])
	if err != nil {
		return err
	}
	defer m.Close()
	tok, err := loadTokenizer(m)
	if err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	text := ""
	if len(args) > 1 {
		text = args[1]
	} else if text, err = readInput(c.Context, con, "-"); err != nil {
		return err
	}
	ids, starts := tok.EncodeWithOffsets(text, tokenizer.EncodeOptions{AddSpecial: !c.Bool("no-bos"), ParseSpecial: c.Bool("parse-special")})
	switch {
	case con.json:
		return con.printJSON(describeTokens(tok, ids, starts))
	case c.Bool("ids"):
		_, err := fmt.Fprintln(con.out, strings.Trim(fmt.Sprint(ids), "[]"))
		return err
	}
	return printTokens(con.out, tok, ids)
}

func describeTokens(tok *tokenizer.Tokenizer, ids []int32, starts []int) any {
	tokens := make([]tokenReport, len(ids))
	for i, id := range ids {
		tokens[i] = tokenReport{id, string(tok.Piece(id)), starts[i]}
	}
	return struct {
		Tokens []tokenReport `json:"tokens"`
	}{tokens}
}

// printTokens prints a line for each token: its id and its piece, quoted.
func printTokens(out io.Writer, tok *tokenizer.Tokenizer, ids []int32) error {
	w := bufio.NewWriter(out)
	for _, id := range ids {
		fmt.Fprintf(w, "%6d  %q\n", id, tok.Piece(id))
	}
	return w.Flush()
}
