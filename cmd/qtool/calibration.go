package main

import (
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"qtool/internal/budget"
	"qtool/internal/kernel/product"
	"qtool/internal/memory"
	"qtool/internal/model"
	"qtool/internal/sensitivity"
	"qtool/internal/source"
	"qtool/internal/tokenizer"
	"qtool/quantize"
)

// readCalibration reads the text of --calibration, "" without it.
func readCalibration(c *cli.Context, con *console) (string, error) {
	if !c.IsSet("calibration") {
		return "", nil
	}
	return readText(c.Context, con, "calibration", c.String("calibration"))
}

// measureSensitivity runs a text through the model.
func measureSensitivity(c *cli.Context, con *console, file source.Model, text string) (map[string]*quantize.Sensitivity, error) {
	tok, err := loadTokenizer(file)
	if err != nil {
		return nil, err
	}
	tokens := tok.Encode(text, tokenizer.EncodeOptions{AddSpecial: true})
	opt := sensitivity.Options{Tokens: c.Int("calibration-tokens"), BOS: -1}
	if context, err := model.ContextLength(file); err == nil {
		if err := opt.Check(len(tokens), context); err != nil {
			return nil, err
		}
	}
	b := budget.New("quantize", c.Bool("force"), con.sayText)
	if err := b.CheckLoading(file, "the model for --calibration"); err != nil {
		return nil, err
	}
	d, err := model.Load(file, model.Options{})
	if errors.Is(err, model.ErrUnsupported) {
		return nil, fmt.Errorf("%w; without --calibration it can be quantized all the same", err)
	} else if err != nil {
		return nil, err
	}
	if tok.Vocab().AddBOS {
		opt.BOS = tok.BOS()
	}
	if err := checkCalibration(b, d, len(tokens), c.Int("threads"), opt); err != nil {
		return nil, err
	}
	pool := product.NewPool(c.Int("threads"))
	defer pool.Close()
	bar := con.progress()
	defer bar.Done()
	opt.Progress = func(done, total int) {
		if done == 0 {
			bar.Start(int64(total), "windows", "calibrating")
		}
		bar.Set(int64(done))
	}
	return sensitivity.Measure(c.Context, d, tokens, pool, opt)
}

// checkCalibration refuses one that does not fit.
func checkCalibration(b *budget.Budget, d *model.Decoder, tokens, threads int, opt sensitivity.Options) error {
	since := memory.Held() - b.Held
	pool := product.NewPool(threads)
	defer pool.Close()
	m, err := sensitivity.PlanMemory(d, tokens, pool, opt, b.ForRehearsals())
	if err != nil {
		return err
	}
	need := budget.Demand{Need: memory.Need{Own: since + m.Total(), Addresses: m.Rehearsal + m.Scratch}, AtLeast: m.AtLeast, Of: "--calibration"}
	if b.Fits(need) {
		return nil
	}
	return b.TooSmall(need, "without --calibration, or with --imatrix in its place, it takes little")
}
