package main

import (
	"github.com/urfave/cli/v2"

	"qtool/fixtures"
)

// shapeFlags describe a synthetic model.
func shapeFlags() []cli.Flag {
	return []cli.Flag{
		&cli.IntFlag{Name: "layers", Value: 4, Usage: "decoder layers"},
		&cli.IntFlag{Name: "dim", Value: 896, Usage: "width of the residual stream"},
		&cli.IntFlag{Name: "heads", Value: 14, Usage: "attention heads"},
		&cli.IntFlag{Name: "kv-heads", Value: 2, Usage: "key and value heads"},
		&cli.IntFlag{Name: "ff", Value: 4864, Usage: "width of the feed-forward network"},
		&cli.IntFlag{Name: "vocab", Value: 32000, Usage: "tokens in the vocabulary"},
		&cli.IntFlag{Name: "experts", Usage: "experts in each layer", DefaultText: "a dense model"},
		&cli.IntFlag{Name: "experts-used", Value: 8, Usage: "experts that each token uses"},
		&cli.IntFlag{Name: "expert-ff", Usage: "width of one expert", DefaultText: "--ff"},
		&cli.StringFlag{Name: "type", Value: "Q8_0", Usage: "file type of the base"},
	}
}

// shapeOf is what shapeFlags say, with room for that many tokens.
func shapeOf(c *cli.Context, tokens int) (fixtures.Shape, error) {
	for _, f := range []struct {
		flag        string
		least, most int
	}{
		{"layers", 1, 512}, {"dim", 1, 1 << 16}, {"heads", 1, 1 << 16}, {"kv-heads", 1, 1 << 16}, {"ff", 1, 1 << 20},
		{"vocab", 1, 1 << 24}, {"experts", 0, 512}, {"experts-used", 1, 512}, {"expert-ff", 0, 1 << 20},
	} {
		if err := within(c, f.least, f.most, f.flag); err != nil {
			return fixtures.Shape{}, err
		}
	}
	shape := fixtures.Shape{
		Name: "synthetic", Layers: c.Int("layers"), Dim: c.Int("dim"), Heads: c.Int("heads"), KVHeads: c.Int("kv-heads"),
		FF: c.Int("ff"), Vocab: c.Int("vocab"), Context: max(2048, tokens), Untied: true,
	}
	if shape.Dim%shape.Heads != 0 || shape.Heads%shape.KVHeads != 0 {
		return fixtures.Shape{}, usagef("bench %s: --dim must divide by --heads, and --heads by --kv-heads", c.Command.Name)
	}
	if n := c.Int("experts"); n > 0 {
		shape.Experts, shape.ExpertsUsed = n, min(n, c.Int("experts-used"))
		if ff := c.Int("expert-ff"); ff > 0 {
			shape.FF = ff
		}
	}
	return shape, nil
}

// Of what is measured, more than any model takes.
const (
	mostTokens = 1 << 16
	mostSteps  = 1 << 20
	mostRank   = 1 << 16
)

// within checks integer flags.
func within(c *cli.Context, least, most int, flags ...string) error {
	for _, flag := range flags {
		if n := c.Int(flag); n < least || n > most {
			return usagef("bench %s: --%s %d: expected %d to %d", c.Command.Name, flag, n, least, most)
		}
	}
	return nil
}
