package train

import "qtool/train/run"

// What a run is described with, under the names that users of a Job need.
type (
	Config     = run.Config
	Plan       = run.Plan
	Memory     = run.Memory
	Event      = run.Event
	EventType  = run.EventType
	ExpertLoad = run.ExpertLoad
	Records    = run.Records
	Token      = run.Token
	Packing    = run.Packing
)

// The ways to pack rows.
const (
	PackingAuto = run.PackingAuto
	PackingOn   = run.PackingOn
	PackingOff  = run.PackingOff
)

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
