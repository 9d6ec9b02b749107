package loop

import (
	"fmt"
	"math"
)

// Schedules are the names that Config.Schedule takes.
var Schedules = []string{"cosine", "linear", "constant"}

// rateAt is the learning rate of step 1 to steps: it climbs linearly over the
// warm-up, reaching the peak at its last step, and then falls to zero behind
// the last step, or stays.
func rateAt(c *Config, step, steps int) float64 {
	warmup := WarmupSteps(c.Warmup, steps)
	if step <= warmup {
		return c.Rate * float64(step) / float64(warmup)
	}
	progress := float64(step-1-warmup) / float64(max(1, steps-warmup))
	switch c.Schedule {
	case "cosine":
		return c.Rate * 0.5 * (1 + math.Cos(math.Pi*progress))
	case "linear":
		return c.Rate * (1 - progress)
	}
	return c.Rate
}

// WarmupSteps reads a warm-up given as a fraction of the run, below 1, or as a
// number of steps.
func WarmupSteps(warmup float64, steps int) int {
	if warmup < 1 {
		return int(math.Ceil(warmup * float64(steps)))
	}
	return int(min(warmup, float64(steps)))
}

func checkSchedule(name string) error {
	for _, s := range Schedules {
		if s == name {
			return nil
		}
	}
	return fmt.Errorf("learning rate schedule %q is not one of %v", name, Schedules)
}
