package loop

import (
	"fmt"
	"math"

	"qtool/internal/kernel/product"
)

// Config is what decides the course of a run. Two runs with equal Config, base
// and data give the same weights, bit for bit, on any number of threads.
type Config struct {
	Rate        float64 `json:"lr"`
	Schedule    string  `json:"lr_schedule"`
	Warmup      float64 `json:"warmup"` // below 1 a fraction of the run, else steps
	WeightDecay float64 `json:"weight_decay"`
	Beta1       float64 `json:"beta1"`
	Beta2       float64 `json:"beta2"`
	Epsilon     float64 `json:"epsilon"`
	Clip        float64 `json:"clip"` // largest gradient norm; 0 is none

	// Coefficients of the routers' auxiliary losses, see [nn.RouterLoss]; 0 is off.
	RouterBalance float64 `json:"router_aux_loss"`
	RouterZ       float64 `json:"router_z_loss"`

	Batch     int `json:"batch"`      // rows that are computed together
	GradAccum int `json:"grad_accum"` // batches whose gradients make one step
	Epochs    int `json:"epochs"`
	Steps     int `json:"steps"` // overrides Epochs unless 0

	Checkpointing bool   `json:"checkpointing"` // recompute blocks to save memory
	Seed          uint64 `json:"seed"`
	Optimizer     string `json:"optimizer,omitempty"` // "" is "adamw"
	Precision     string `json:"precision"`

	EvalEvery  int `json:"-"` // steps between evaluations; 0 is only first and last
	EvalTokens int `json:"-"` // held-out rows are evaluated up to so many tokens; 0 is all
	SaveEvery  int `json:"-"` // steps between checkpoints
}

// DefaultConfig works without thought for LoRA.
func DefaultConfig() Config {
	return Config{
		Rate: 2e-4, Schedule: "cosine", Warmup: 0.03, Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-8, Clip: 1,
		Batch: 1, GradAccum: 1, Epochs: 3, Seed: 42, Precision: "auto", EvalTokens: 16384, SaveEvery: 25,
	}
}

// KernelPrecision is how base weights are multiplied.
func (c *Config) KernelPrecision() product.Precision {
	if c.Precision == "auto" {
		return product.Auto
	}
	return product.Float32
}

// maxRows bounds the rows of a step.
const maxRows = 1 << 20

// maxSteps bounds a run.
const maxSteps = 1 << 30

// Check reports the first setting that makes no sense.
func (c *Config) Check() error {
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
	for _, s := range []struct {
		name     string
		value    float64
		positive bool
	}{
		{"learning rate", c.Rate, true}, {"warm-up", c.Warmup, false}, {"weight decay", c.WeightDecay, false},
		{"clipping", c.Clip, false}, {"load-balance loss of routers", c.RouterBalance, false}, {"z loss of routers", c.RouterZ, false}, {"batch", float64(c.Batch), true}, {"gradient accumulation", float64(c.GradAccum), true},
		{"number of steps", float64(c.Steps), false}, {"number of epochs", float64(c.Epochs), c.Steps == 0},
		{"steps between evaluations", float64(c.EvalEvery), false}, {"steps between checkpoints", float64(c.SaveEvery), false}, {"number of tokens to evaluate", float64(c.EvalTokens), false},
	} {
		if math.IsNaN(s.value) || math.IsInf(s.value, 0) || s.value < 0 || s.positive && s.value == 0 {
			return fmt.Errorf("the %s is %g; it must be a number above %s", s.name, s.value, map[bool]string{true: "0", false: "or equal to 0"}[s.positive])
		}
	}
	return nil
}
