package train

// EventType names what happened.
type EventType string

// The events of a run.
const (
	StepEvent       EventType = "step"       // an optimizer step was taken
	SkipEvent       EventType = "skip"       // a step was dropped because of its loss or gradient
	RollbackEvent   EventType = "rollback"   // the last good state was put back
	EvalEvent       EventType = "eval"       // the held-out rows were evaluated
	CheckpointEvent EventType = "checkpoint" // a checkpoint was written
)

// Event is one thing that happened; it is also one line of metrics.jsonl.
type Event struct {
	Type            EventType `json:"type"`
	Step            int       `json:"step"`
	Epoch           float64   `json:"epoch,omitempty"`
	Loss            float64   `json:"loss"` // mean per scored token, in nats
	Rate            float64   `json:"lr,omitempty"`
	GradNorm        float64   `json:"grad_norm,omitempty"` // before clipping
	TokensPerSecond float64   `json:"tokens_per_second,omitempty"`
	Tokens          int       `json:"tokens,omitempty"` // processed in this step
	MemoryBytes     int64     `json:"memory_bytes,omitempty"`
	Reason          string    `json:"reason,omitempty"` // of a skip or a rollback
}
