package main

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"qtool/gguf"
	"qtool/internal/printable"
	"qtool/internal/source"
	"qtool/quantize"
)

// targetFlags are the flags of quantize that ask for a size.
func targetFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "target-size", Usage: "choose types so that the file has at most `SIZE`, such as 4.2GiB, and loses the least"},
		&cli.Float64Flag{Name: "target-bpw", Usage: "the same for a mean of `BITS` per weight, without metadata"},
		inputFlag(&cli.StringFlag{Name: "calibration", Usage: "with a target: measure how much each weight matters on the text of `FILE`"}),
		&cli.IntFlag{Name: "calibration-tokens", Value: 4096, Usage: "read `N` tokens of it"},
		&cli.StringFlag{Name: "target-types", Usage: "types to choose from: `TYPE,…` (default: those of the mixes)"},
	}
}

// readTarget reads the flags; nil if no size is asked for.
func readTarget(c *cli.Context) (*quantize.Target, error) {
	t := &quantize.Target{}
	switch {
	case !c.IsSet("target-size") && !c.IsSet("target-bpw"):
		for _, name := range []string{"target-types", "calibration", "calibration-tokens"} {
			if c.IsSet(name) {
				return nil, usagef("--%s is for --target-size and --target-bpw", name)
			}
		}
		return nil, nil
	case c.IsSet("target-size") && c.IsSet("target-bpw"):
		return nil, usagef("--target-size and --target-bpw exclude each other")
	case c.IsSet("type") || c.Bool("pure"):
		return nil, usagef("--type and --pure choose types by themselves, --target-size and --target-bpw by their effect: give one of them")
	case c.IsSet("target-bpw"):
		if t.BitsPerWeight = c.Float64("target-bpw"); !(t.BitsPerWeight > 0 && t.BitsPerWeight <= 64) {
			return nil, usagef("--target-bpw %g: expected bits per weight, as in 4.5", t.BitsPerWeight)
		}
	default:
		var err error
		if t.Bytes, err = parseSize(c.String("target-size")); err != nil {
			return nil, fmt.Errorf("--target-size: %w", err)
		}
	}
	if c.Int("calibration-tokens") < 1 {
		return nil, usagef("--calibration-tokens %d: expected at least 1", c.Int("calibration-tokens"))
	}
	for _, name := range strings.FieldsFunc(c.String("target-types"), func(r rune) bool { return r == ',' || r == ' ' }) {
		typ, err := gguf.ParseType(name)
		if err != nil {
			return nil, usagef("--target-types: %v", err)
		}
		if _, err := quantize.LookupEncoder(typ); err != nil {
			return nil, fmt.Errorf("--target-types: %w", err)
		}
		t.Types = append(t.Types, typ)
	}
	return t, nil
}

// makePlan chooses a type for every tensor of m: for a size, or if target is nil by the
// file type. weights are m, or what became of it. calibration is the text to measure on m, if
// any.
func makePlan(c *cli.Context, con *console, m source.Model, weights gguf.Model, opts quantize.Options, target *quantize.Target, calibration string) (*quantize.Plan, error) {
	if target == nil {
		return quantize.NewPlan(weights, opts)
	}
	if calibration != "" {
		var err error
		if target.Sensitivity, err = measureSensitivity(c, con, m, calibration); err != nil {
			return nil, err
		}
	}
	target.Write = func(p *quantize.Plan) ([]gguf.WriteOption, error) { return writeOptions(c, p, m) }
	bar := con.progress()
	defer bar.Done()
	started := false
	target.Progress = func(t *gguf.Tensor, done, total int64) {
		if !started {
			bar.Start(total, "values", "trying types")
			started = true
		}
		bar.Remark("%s", printable.Text(t.Name))
		bar.Set(done)
	}
	return quantize.NewTargetPlan(c.Context, weights, opts, *target)
}
