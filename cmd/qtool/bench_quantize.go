package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"qtool/fixtures"
	"qtool/internal/bench"
	"qtool/internal/outputs"
)

func benchQuantizeCommand() *cli.Command {
	return &cli.Command{
		Name:  "quantize",
		Usage: "measure how much F16 source is quantized to each type in a second",
		UsageText: `qtool bench quantize [flags]

qtool bench quantize --types Q4_K,Q6_K,IQ4_NL
qtool bench quantize --threads 1 --json
qtool bench quantize --model synthetic-f16.gguf`,
		Description: `Weights are in memory and no file is written. To time whole files, --model writes
a model of 415 million F16 weights in 830 MB, which quantize can then be run on.`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "types", Usage: "tensor types, separated by commas", DefaultText: "all"},
			&cli.DurationFlag{Name: "time", Value: 200 * time.Millisecond, Usage: "time for each type, with and without importance"},
			&cli.StringFlag{Name: "model", Usage: "write a model to quantize to `OUT.gguf`, and measure nothing"},
			threadsFlag(), jsonFlag(),
		},
		Action: runBenchQuantize,
	}
}

// quantizedShape is the model that docs/benchmarks.md has figures of.
var quantizedShape = fixtures.Shape{
	Name: "synthetic", Layers: 24, Dim: 896, Heads: 14, KVHeads: 2, FF: 4864, Vocab: 32000, Context: 2048, Untied: true,
}

func runBenchQuantize(c *cli.Context) error {
	if _, err := arguments(c); err != nil {
		return err
	}
	con := newConsole(c)
	if path := c.String("model"); path != "" {
		if err := outputs.Check(nil, path); err != nil {
			return err
		}
		if err := bench.WriteSynthetic(c.Context, path, quantizedShape); err != nil {
			return err
		}
		con.say("%s: written", path)
		return nil
	}
	opt := bench.QuantizeOptions{Threads: c.Int("threads"), Each: c.Duration("time")}
	if types := c.String("types"); types != "" {
		opt.Types = strings.Split(types, ",")
	}
	bar := con.progress()
	r, err := bench.Quantize(c.Context, opt, bar.Of("types", "measuring"))
	bar.Done()
	if err != nil {
		return err
	}
	if con.json {
		return con.printJSON(r)
	}
	fmt.Fprintf(con.out, "%s, tier %s, %d threads, from %s\n", r.CPU, r.Tier, r.Threads, r.Source)
	for _, e := range r.Results {
		fmt.Fprintf(con.out, "%-8s  %7.3f GB/s  %7.3f with importance\n", e.Type, e.Plain, e.Weighted)
	}
	return nil
}
