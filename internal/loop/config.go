package loop

import (
	"fmt"
	"math"

	"qtool/internal/kernel/product"
)

// KernelPrecision is how base weights are multiplied with what Config.Precision says.
func KernelPrecision(precision string) product.Precision {
	if precision == "auto" {
		return product.Auto
	}
	return product.Float32
}

// maxRows bounds the rows of a step.
const maxRows = 1 << 20

// maxSteps bounds a run.
const maxSteps = 1 << 30

// Check reports the first setting that makes no sense.
func Check(c *Config) error {
	if err := checkSchedule(c.Schedule); err != nil {
		return err
	}
	if err := checkOptimizer(c.Optimizer); err != nil {
		return err
	}
	switch c.Precision {
	case "f32", "auto":
	default:
		return fmt.Errorf("precision %q is not one of f32, auto", c.Precision)
	}
	if c.Steps > maxSteps || c.Epochs > maxSteps {
		return fmt.Errorf("%d steps or %d epochs; at most %d are taken", c.Steps, c.Epochs, maxSteps)
	}
	if c.Batch > maxRows || c.GradAccum > maxRows || c.Batch*c.GradAccum > maxRows {
		return fmt.Errorf("%d batches of %d rows in a step; at most %d rows make one", c.GradAccum, c.Batch, maxRows)
	}
	if !(c.LabelSmoothing >= 0 && c.LabelSmoothing < 1) {
		return fmt.Errorf("the label smoothing is %g; it must be a number from 0 to below 1", c.LabelSmoothing)
	}
	for _, s := range []struct {
		name     string
		value    float64
		positive bool
	}{
		{"learning rate", c.Rate, true}, {"warm-up", c.Warmup, false}, {"weight decay", c.WeightDecay, false},
		{"clipping", c.Clip, false}, {"alpha of NEFTune", c.NEFTune, false}, {"load-balance loss of routers", c.RouterBalance, false}, {"z loss of routers", c.RouterZ, false}, {"batch", float64(c.Batch), true}, {"gradient accumulation", float64(c.GradAccum), true},
		{"number of steps", float64(c.Steps), false}, {"number of epochs", float64(c.Epochs), c.Steps == 0},
		{"steps between evaluations", float64(c.EvalEvery), false}, {"steps between checkpoints", float64(c.SaveEvery), false}, {"number of tokens to evaluate", float64(c.EvalTokens), false},
	} {
		if math.IsNaN(s.value) || math.IsInf(s.value, 0) || s.value < 0 || s.positive && s.value == 0 {
			return fmt.Errorf("the %s is %g; it must be a number above %s", s.name, s.value, map[bool]string{true: "0", false: "or equal to 0"}[s.positive])
		}
	}
	return nil
}
