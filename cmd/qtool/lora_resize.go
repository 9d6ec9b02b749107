package main

import (
	"fmt"
	"os"

	"github.com/urfave/cli/v2"

	"qtool/gguf"
	"qtool/internal/outputs"
	"qtool/internal/printable"
	"qtool/internal/source"
	"qtool/lora"
)

func loraResizeCommand() *cli.Command {
	return &cli.Command{
		Name:  "resize",
		Usage: "change the rank of an adapter's pairs",
		UsageText: `qtool lora resize (--rank R | --energy SHARE) ADAPTER OUT.gguf

qtool lora resize --rank 8 mine.gguf small.gguf
qtool lora resize --energy 0.99 mine.gguf small.gguf`,
		Description: `Each pair becomes the nearest one of its new rank: the singular value decomposition of B·A
without its smallest terms. What is kept is printed by kind, as the share
1 − ‖residual‖²/‖B·A‖². --energy chooses the rank of each pair, and makes none larger.

A pair that --rank makes larger changes the base as before: B gets zeros, and A random
values that training can use (finetune --init-adapter).`,
		Flags: []cli.Flag{
			&cli.IntFlag{Name: "rank", Usage: "rank `R` of every pair; with --energy the highest"},
			energyFlag("change"),
			loraSeedFlag("decides the random values of pairs that become larger"),
			threadsFlag(),
			forceFlag(),
			jsonFlag(),
		},
		Action: runLoraResize,
	}
}

func runLoraResize(c *cli.Context) error {
	con := newConsole(c)
	if c.NArg() != 2 {
		return usagef("lora resize: an ADAPTER and OUT.gguf are wanted, and there are %d arguments; usage: qtool lora resize (--rank R | --energy SHARE) ADAPTER OUT.gguf", c.NArg())
	}
	if err := rankOrEnergy(c); err != nil {
		return err
	}
	path, output := c.Args().Get(0), c.Args().Get(1)
	if err := source.Found("", path); err != nil {
		return err
	}
	if err := outputs.Check([]string{path}, output); err != nil {
		return err
	}
	if err := checkAdapterMemory(c, con, 3, "close other programs", path); err != nil {
		return err
	}
	a, err := lora.OpenFor(path, nil)
	if err != nil {
		return fmt.Errorf("adapter: %w", err)
	}
	if err := checkGrowth(c, con, a); err != nil {
		return err
	}
	bar := con.progress()
	defer bar.Done()
	out, fits, err := a.Resize(c.Context, lora.Resizing{
		Rank: c.Int("rank"), Energy: c.Float64("energy"), Seed: c.Uint64("seed"), Threads: c.Int("threads"), Progress: perTensor(bar, "pairs", "decomposing"),
	})
	if err != nil {
		return fmt.Errorf("adapter %s: %w", path, err)
	}
	bar.Done()
	recordResize(c, out, a, fits)
	if err := writeAdapter(c.Context, out, output); err != nil {
		return err
	}
	return reportResize(c, con, a, out, fits, path, output)
}

// checkGrowth refuses a rank whose pairs are larger than the memory.
func checkGrowth(c *cli.Context, con *console, a *lora.Adapter) error {
	var bytes int64
	for i := range a.Pairs {
		p := &a.Pairs[i]
		if rank := p.Rank(); rank < c.Int("rank") {
			bytes += 4 * int64(c.Int("rank")) * int64((len(p.A.Values)+len(p.B.Values))/rank)
		}
	}
	return checkOwnMemory(c, con, bytes, "the larger adapter", "take a lower --rank")
}

// ranksOf are the lowest and the highest rank of an adapter.
func ranksOf(a *lora.Adapter) (lowest, highest int) {
	for i := range a.Pairs {
		rank := a.Pairs[i].Rank()
		if highest = max(highest, rank); i == 0 || rank < lowest {
			lowest = rank
		}
	}
	return lowest, highest
}

// recordResize writes into the adapter what was done.
func recordResize(c *cli.Context, out, was *lora.Adapter, fits []lora.Fit) {
	md := &gguf.Metadata{}
	if was.Extra != nil {
		md = was.Extra.Clone()
	}
	_, highest := ranksOf(was)
	md.Set("qtool.resize.version", buildVersion().Version)
	md.Set("qtool.resize.from_rank", uint32(highest))
	if c.IsSet("rank") {
		md.Set("qtool.resize.rank", uint32(c.Int("rank")))
	}
	if c.IsSet("energy") {
		md.Set("qtool.resize.energy", c.Float64("energy"))
	}
	md.Set("qtool.resize.kept", lora.FitTogether(fits).Kept)
	out.Extra = md
}

// resizeReport is the JSON of lora resize.
type resizeReport struct {
	Input   string      `json:"input"`
	Output  string      `json:"output"`
	Alpha   float32     `json:"alpha"`
	Before  int64       `json:"bytes_before"`
	Bytes   int64       `json:"bytes"`
	All     fitReport   `json:"all"`
	Kinds   []fitReport `json:"kinds"`
	Tensors []fitReport `json:"tensors"`
	Larger  int         `json:"larger"` // pairs whose rank rose
}

func reportResize(c *cli.Context, con *console, was, out *lora.Adapter, fits []lora.Fit, input, output string) error {
	r := &resizeReport{Input: input, Output: output, Alpha: out.Alpha, Before: sizeOf(input), Bytes: sizeOf(output)}
	r.All, r.Kinds, r.Tensors = describeFits(fits)
	short := 0
	for i := range out.Pairs {
		if out.Pairs[i].Rank() > was.Pairs[i].Rank() {
			r.Larger++
		}
		if fits[i].Short {
			short++
		}
	}
	if r.Larger > 0 {
		con.say("%s became larger, which changes nothing of what the adapter does: B is filled with zeros", printable.Count(r.Larger, "pair"))
	}
	if short > 0 {
		con.say("%s hold less than %g: a rank above %d would be needed, which a higher --rank allows", printable.Count(short, "pair"), c.Float64("energy"), c.Int("rank"))
	}
	if con.json {
		return con.printJSON(r)
	}
	con.say("%s: %s, alpha %g, %s, was %s", output, printable.Count(len(out.Pairs), "pair"), out.Alpha, printable.Bytes(r.Bytes), printable.Bytes(r.Before))
	return printFits(con, r.All, r.Kinds, r.Tensors)
}

// sizeOf is how many bytes a file has; 0 if it is gone.
func sizeOf(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}
