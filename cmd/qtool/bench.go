package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"qtool/internal/bench"
	"qtool/internal/printable"
)

func benchCommand() *cli.Command {
	return &cli.Command{
		Name:        "bench",
		Usage:       "measure this machine",
		UsageText:   "qtool bench gemm|train|generate|quantize [flags]",
		Subcommands: []*cli.Command{benchGEMMCommand(), benchTrainCommand(), benchGenerateCommand(), benchQuantizeCommand()},
	}
}

func precisionFlag() cli.Flag {
	return &cli.StringFlag{Name: "precision", Value: "auto", Usage: "f32, or auto for what the CPU does best",
		Action: func(_ *cli.Context, p string) error {
			if p != "f32" && p != "auto" {
				return usagef("--precision %s: expected f32 or auto", p)
			}
			return nil
		}}
}

func benchGEMMCommand() *cli.Command {
	return &cli.Command{
		Name:  "gemm",
		Usage: "measure products over quantized weights against this CPU's own peak",
		UsageText: `qtool bench gemm [flags]

qtool bench gemm --tokens 256
qtool bench gemm --types Q4_K,Q8_0 --precision f32 --json`,
		Flags: []cli.Flag{
			&cli.IntFlag{Name: "tokens", Value: 256, Usage: "rows that are multiplied with the weight"},
			&cli.StringFlag{Name: "types", Usage: "tensor types, separated by commas (default: the usual ones)"},
			&cli.DurationFlag{Name: "time", Value: 300 * time.Millisecond, Usage: "time for each product"},
			precisionFlag(), threadsFlag(), jsonFlag(),
		},
		Action: runBenchGEMM,
	}
}

func runBenchGEMM(c *cli.Context) error {
	if _, err := arguments(c); err != nil {
		return err
	}
	if err := within(c, 1, mostTokens, "tokens"); err != nil {
		return err
	}
	opt := bench.GEMMOptions{Tokens: c.Int("tokens"), Threads: c.Int("threads"), Precision: c.String("precision"), Each: c.Duration("time")}
	if types := c.String("types"); types != "" {
		opt.Types = strings.Split(types, ",")
	}
	con := newConsole(c)
	bar := con.progress()
	r, err := bench.GEMM(c.Context, opt, bar.Of("products", "measuring"))
	bar.Done()
	if err != nil {
		return err
	}
	if con.json {
		return con.printJSON(r)
	}
	fmt.Fprintf(con.out, "%s, tier %s, %s, %d threads: peak %.0f GFLOP/s, memory %.1f GB/s\n", r.CPU, r.Tier, r.Precision, r.Threads, r.Peak, r.Bandwidth)
	for _, p := range r.Results {
		fmt.Fprintf(con.out, "%-8s %-8s  m %d  n %5d  k %5d  %7.1f GFLOP/s  %3.0f%% of peak\n", p.Type, p.Direction, p.M, p.N, p.K, p.GFLOPS, 100*p.Fraction)
	}
	return nil
}

func benchTrainCommand() *cli.Command {
	return &cli.Command{
		Name:  "train",
		Usage: "measure training steps over a synthetic model",
		UsageText: `qtool bench train [flags]

qtool bench train --layers 24 --dim 896 --heads 14 --kv-heads 2 --ff 4864 --vocab 32000 --type Q8_0 --seq 256
qtool bench train --experts 64 --experts-used 8 --expert-ff 512 --json`,
		Description: `The model is written to a temporary file and mapped, as a user's model would be.`,
		Flags: append(shapeFlags(),
			&cli.IntFlag{Name: "seq", Value: 256, Usage: "tokens in a step"},
			&cli.IntFlag{Name: "rank", Value: 16, Usage: "rank of the pairs on all linear targets"},
			&cli.IntFlag{Name: "steps", Value: 5, Usage: "steps to measure, after one that is not"},
			&cli.BoolFlag{Name: "checkpointing", Usage: "compute blocks twice to save memory"},
			precisionFlag(),
			&cli.BoolFlag{Name: "forward", Usage: "measure forward passes only, as when a prompt is read"},
			threadsFlag(), jsonFlag(),
		),
		Action: runBenchTrain,
	}
}

func runBenchTrain(c *cli.Context) error {
	if _, err := arguments(c); err != nil {
		return err
	}
	for _, err := range []error{within(c, 1, mostTokens, "seq"), within(c, 1, mostSteps, "steps"), within(c, 1, mostRank, "rank")} {
		if err != nil {
			return err
		}
	}
	shape, err := shapeOf(c, c.Int("seq"))
	if err != nil {
		return err
	}
	r, err := bench.Train(c.Context, bench.TrainOptions{
		Shape: shape, FileType: c.String("type"), Seq: c.Int("seq"), Rank: c.Int("rank"), Steps: c.Int("steps"),
		Threads: c.Int("threads"), Checkpointing: c.Bool("checkpointing"), Forward: c.Bool("forward"), Precision: c.String("precision"),
	})
	if err != nil {
		return err
	}
	con := newConsole(c)
	if con.json {
		return con.printJSON(r)
	}
	fmt.Fprintf(con.out, "model    %d parameters, %s\n", r.Parameters, printable.Bytes(r.ModelBytes))
	fmt.Fprintf(con.out, "speed    %.1f tokens/s, %.3f s a step of %d tokens (best %.3f)\n", r.TokensPerSecond, r.StepSeconds, r.Tokens, r.BestSeconds)
	fmt.Fprintf(con.out, "work     %.1f GFLOP/s in %s on %d threads, %.0f%% of the peak of %.0f\n", r.GFLOPS, r.Precision, r.Threads, 100*r.Fraction, r.Peak)
	if r.Memory != nil {
		fmt.Fprintf(con.out, "memory   %s planned beside the mapped base", printable.Bytes(r.PlannedBytes))
		if r.AnonymousBytes > 0 {
			fmt.Fprintf(con.out, ", %s measured", printable.Bytes(r.AnonymousBytes))
		}
		fmt.Fprintln(con.out)
	}
	if r.PeakRSSBytes > 0 {
		fmt.Fprintf(con.out, "         %s resident at most, with what is mapped\n", printable.Bytes(r.PeakRSSBytes))
	}
	return nil
}
