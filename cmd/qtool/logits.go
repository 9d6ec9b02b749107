package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"qtool/internal/budget"
	"qtool/internal/infer"
	"qtool/internal/input"
	"qtool/internal/kernel/product"
	"qtool/internal/outputs"
	"qtool/internal/source"
	"qtool/internal/tokenizer"
)

func logitsCommand() *cli.Command {
	return &cli.Command{
		Name:  "logits",
		Usage: "write the raw logits of every position",
		UsageText: `qtool logits MODEL --tokens IDS|--prompt TEXT -o OUT.npy [flags]

qtool logits model.gguf --tokens "1 15043 29892" -o logits.npy
qtool logits model.gguf --tokens @ids.txt --lora adapter.gguf -o logits.npy`,
		Description: "OUT.npy is a NumPy array of float32, [tokens, vocabulary].",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "tokens", Usage: "run on these ids, separated by commas or blanks; `@FILE` reads them from a file"},
			promptFlag("run on `TEXT` instead"),
			noEscapeFlag("--prompt"),
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write `OUT.npy`"},
			adapterFlag(),
			preFlag(),
			threadsFlag(),
			forceFlag(),
			jsonFlag(),
		},
		Action: runLogits,
	}
}

func runLogits(c *cli.Context) error {
	args, err := arguments(c, "MODEL")
	if err != nil {
		return err
	}
	output := c.String("output")
	switch {
	case output == "":
		return usagef("logits: -o is missing")
	case c.IsSet("tokens") == c.IsSet("prompt"):
		return usagef("logits: give either --tokens or --prompt")
	}
	if err := outputs.Check(slices.Concat(source.Paths(args[0]), scaledPaths(c.StringSlice("lora")), []string{idsFile(c.String("tokens"))}), output); err != nil {
		return err
	}
	con := newConsole(c)
	given, err := readTokens(c, con)
	if err != nil {
		return err
	}
	from, err := modelSource(c, args[0])
	if err != nil {
		return err
	}
	l, err := loadForRun(c, con, from, c.StringSlice("lora"), nil)
	if err != nil {
		return err
	}
	defer l.Close()
	ids, err := given.of(l)
	if err != nil {
		return err
	}
	err = checkRunning(l.memory, c.Int("threads"), running{
		size: len(ids), smaller: lengthsBelow(len(ids)),
		needs: func(pool *product.Pool, n int, most int64) infer.Memory {
			return infer.NewSession(l.decoder, l.tokens, pool).LogitsMemory(n, most)
		},
		advice: "with the first %d tokens alone", otherwise: budget.ModelTooLarge,
	})
	if err != nil {
		return err
	}
	shape := []int{len(ids), l.decoder.Vocabulary}
	if err := checkSpace(need{output, npySize(shape)}); err != nil {
		return err
	}
	if err := writeLogits(c, con, l, ids, shape, output); err != nil {
		return err
	}
	if con.json {
		return con.printJSON(struct {
			Output string  `json:"output"`
			Shape  []int   `json:"shape"`
			Tokens []int32 `json:"tokens"`
		}{output, shape, ids})
	}
	con.say("%s: logits %s", output, formatShape(shape))
	return nil
}

// givenTokens are what --tokens or --prompt say.
type givenTokens struct {
	ids    []int32 // nil for a prompt
	prompt string
}

// readTokens reads --tokens or --prompt, as far as that needs no model.
func readTokens(c *cli.Context, con *console) (g givenTokens, err error) {
	if c.IsSet("tokens") {
		g.ids, err = parseIDs(c.String("tokens"))
	} else {
		g.prompt, err = promptOf(c, con)
	}
	return g, err
}

// of gives the ids for a model.
func (g *givenTokens) of(l *loaded) ([]int32, error) {
	for _, id := range g.ids {
		if id < 0 || int(id) >= l.decoder.Vocabulary {
			return nil, usagef("logits: token %d is outside the vocabulary; the model has the ids 0 to %d", id, l.decoder.Vocabulary-1)
		}
	}
	if g.ids != nil {
		return g.ids, nil
	}
	tok, err := l.tokenizer()
	if err != nil {
		return nil, err
	}
	return tok.Encode(g.prompt, tokenizer.EncodeOptions{AddSpecial: true, ParseSpecial: true}), nil
}

// idsFile is the file that --tokens @FILE names, else "".
func idsFile(list string) string {
	path, ok := strings.CutPrefix(list, "@")
	if !ok {
		return ""
	}
	return strings.TrimSpace(path)
}

// parseIDs reads ids separated by commas and white space, from a file if list begins
// with "@".
func parseIDs(list string) ([]int32, error) {
	if path := idsFile(list); path != "" {
		if err := source.Found("--tokens: ", path); err != nil {
			return nil, err
		}
		b, err := input.ReadFile(path, maxText)
		if err != nil {
			return nil, fmt.Errorf("reading token ids: %w", err)
		}
		list = string(b)
	}
	var ids []int32
	for _, field := range strings.Fields(strings.ReplaceAll(list, ",", " ")) {
		id, err := strconv.ParseInt(field, 10, 32)
		if err != nil {
			return nil, usagef("logits: %q is no token id; expected numbers such as 1,15043,29892", field)
		}
		ids = append(ids, int32(id))
	}
	if len(ids) == 0 {
		return nil, usagef("logits: --tokens names no token")
	}
	return ids, nil
}

func writeLogits(c *cli.Context, con *console, l *loaded, ids []int32, shape []int, output string) error {
	w, err := createNPY(output, shape)
	if err != nil {
		return err
	}
	defer w.Abort()
	bar := con.progress()
	defer bar.Done()
	bar.Start(int64(len(ids)), "tokens", "logits")
	err = l.session().Logits(c.Context, ids, func(row []float32) error {
		bar.Add(1)
		return w.Write(row)
	})
	if err != nil {
		return err
	}
	if err := l.file.Unchanged(); err != nil {
		return fmt.Errorf("%s is not written: %w", output, err)
	}
	return w.Commit()
}
