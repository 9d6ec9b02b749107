package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"qtool/internal/bench"
	"qtool/internal/printable"
)

func benchGenerateCommand() *cli.Command {
	return &cli.Command{
		Name:  "generate",
		Usage: "measure how fast a synthetic model generates tokens, against what memory gives",
		UsageText: `qtool bench generate [flags]

qtool bench generate --layers 24 --dim 896 --heads 14 --kv-heads 2 --ff 4864 --vocab 32000 --type Q8_0
qtool bench generate --context 2000 --rank 16 --json`,
		Description: `Each token reads all weights but the embedding's, so memory sets the pace. What
memory gives is measured in the same run, by reading 256 MiB.`,
		Flags: append(shapeFlags(),
			&cli.IntFlag{Name: "context", Value: 64, Usage: "tokens in the cache before those that are measured"},
			&cli.IntFlag{Name: "tokens", Value: 64, Usage: "tokens to measure, after one that is not"},
			&cli.IntFlag{Name: "rank", Usage: "generate with LoRA pairs of that rank on all linear targets", DefaultText: "without pairs"},
			threadsFlag(), jsonFlag(),
		),
		Action: runBenchGenerate,
	}
}

func runBenchGenerate(c *cli.Context) error {
	if _, err := arguments(c); err != nil {
		return err
	}
	for _, err := range []error{within(c, 1, mostTokens, "tokens"), within(c, 0, mostTokens, "context"), within(c, 0, mostRank, "rank")} {
		if err != nil {
			return err
		}
	}
	shape, err := shapeOf(c, c.Int("context")+c.Int("tokens")+1)
	if err != nil {
		return err
	}
	r, err := bench.Generate(c.Context, bench.GenerateOptions{
		Shape: shape, FileType: c.String("type"), Context: c.Int("context"), Tokens: c.Int("tokens"), Rank: c.Int("rank"), Threads: c.Int("threads"),
	})
	if err != nil {
		return err
	}
	con := newConsole(c)
	if con.json {
		return con.printJSON(r)
	}
	fmt.Fprintf(con.out, "model    %d parameters, %s, %s read for each token\n", r.Parameters, printable.Bytes(r.ModelBytes), printable.Bytes(r.WeightBytes))
	fmt.Fprintf(con.out, "speed    %.1f tokens/s, %.2f ms a token (best %.2f) on %d threads, tier %s\n", r.TokensPerSecond, 1e3*r.TokenSeconds, 1e3*r.BestSeconds, r.Threads, r.Tier)
	fmt.Fprintf(con.out, "memory   %.1f GB/s of weights, %.0f%% of the %.1f GB/s that memory gives\n", r.WeightRate, 100*r.Fraction, r.Bandwidth)
	return nil
}
