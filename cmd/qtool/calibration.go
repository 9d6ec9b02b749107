package main

import (
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"qtool/internal/kernel"
	"qtool/internal/model"
	"qtool/internal/sensitivity"
	"qtool/internal/tokenizer"
	"qtool/quantize"
)

// measureSensitivity runs the text of --calibration through the model.
func measureSensitivity(c *cli.Context, con *console, file modelFile) (map[string]*quantize.Sensitivity, error) {
	text, err := readInput(c.Context, con, c.String("calibration"))
	if err != nil {
		return nil, fmt.Errorf("reading the text for calibration: %w", err)
	}
	d, err := model.Load(file, model.Options{})
	if errors.Is(err, model.ErrUnsupported) {
		return nil, fmt.Errorf("%w; without --calibration it can be quantized all the same", err)
	} else if err != nil {
		return nil, err
	}
	tok, err := loadTokenizer(file)
	if err != nil {
		return nil, err
	}
	bos := int32(-1)
	if tok.Vocab().AddBOS {
		bos = tok.BOS()
	}
	pool := kernel.NewPool(c.Int("threads"))
	defer pool.Close()
	bar := con.progress()
	defer bar.Done()
	return sensitivity.Measure(c.Context, d, tok.Encode(text, tokenizer.EncodeOptions{AddSpecial: true}), pool, sensitivity.Options{
		Tokens: c.Int("calibration-tokens"), BOS: bos,
		Progress: func(done, total int) {
			if done == 0 {
				bar.Start(int64(total), "windows", "calibrating")
			}
			bar.Set(int64(done))
		},
	})
}
