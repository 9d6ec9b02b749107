package loop

import "qtool/train/run"

// What a run is described with is public, so that other modules can read it.
type (
	Config     = run.Config
	Plan       = run.Plan
	Memory     = run.Memory
	Estimate   = run.Estimate
	Event      = run.Event
	EventType  = run.EventType
	ExpertLoad = run.ExpertLoad
)

// DefaultConfig works without thought for LoRA.
func DefaultConfig() Config { return run.DefaultConfig() }

// The events of a run.
const (
	StepEvent       = run.StepEvent
	SkipEvent       = run.SkipEvent
	RollbackEvent   = run.RollbackEvent
	WarningEvent    = run.WarningEvent
	ExpertsEvent    = run.ExpertsEvent
	EvalEvent       = run.EvalEvent
	CheckpointEvent = run.CheckpointEvent
)
