package run

import "encoding/json"

// EventType names what happened.
type EventType string

// The events of a run.
const (
	StepEvent       EventType = "step"       // an optimizer step was taken
	SkipEvent       EventType = "skip"       // a step could not be computed: its rows were not learned
	RollbackEvent   EventType = "rollback"   // training diverged: the last good state was put back
	WarningEvent    EventType = "warning"    // something went wrong that the run survives
	ExpertsEvent    EventType = "experts"    // the run is over, and this is how experts were used
	EvalEvent       EventType = "eval"       // the held-out rows were evaluated
	CheckpointEvent EventType = "checkpoint" // a checkpoint was written
)

// Event is one thing that happened.
type Event struct {
	Type            EventType
	Step            int
	Epoch           float64 // of a step: how often the data were gone through
	Loss            float64 // of a step or an evaluation: mean per scored token, in nats
	Rate            float64 // of a step: the learning rate
	GradNorm        float64 // of a step: before clipping
	Tokens          int     // of a step or an evaluation: processed
	TokensPerSecond float64
	MemoryBytes     int64  // of a step: what the run holds besides the mapped base
	Reason          string // of a skip, a rollback or a warning
	// Of a step with auxiliary losses: their mean over the routers.
	RouterBalance, RouterZ float64
	Experts                []ExpertLoad // how experts were used
}

// MarshalJSON gives one line of metrics.jsonl, with the keys that events of
// this type have.
func (e Event) MarshalJSON() ([]byte, error) {
	type about struct {
		Type EventType `json:"type"`
		Step int       `json:"step"`
	}
	type measured struct {
		about
		Loss            float64 `json:"loss"`
		Tokens          int     `json:"tokens"`
		TokensPerSecond float64 `json:"tokens_per_second"`
	}
	head := about{e.Type, e.Step}
	body := measured{head, e.Loss, e.Tokens, e.TokensPerSecond}
	switch e.Type {
	case StepEvent:
		return json.Marshal(struct {
			measured
			Epoch       float64 `json:"epoch"`
			Rate        float64 `json:"lr"`
			GradNorm    float64 `json:"grad_norm"`
			MemoryBytes int64   `json:"memory_bytes"`
			Balance     float64 `json:"router_aux_loss,omitempty"`
			Z           float64 `json:"router_z_loss,omitempty"`
		}{body, e.Epoch, e.Rate, e.GradNorm, e.MemoryBytes, e.RouterBalance, e.RouterZ})
	case ExpertsEvent:
		return json.Marshal(struct {
			about
			Layers []ExpertLoad `json:"layers"`
		}{head, e.Experts})
	case EvalEvent:
		return json.Marshal(body)
	}
	return json.Marshal(struct {
		about
		Reason string `json:"reason,omitempty"`
	}{head, e.Reason})
}

// ExpertLoad is how often one layer's router chose its experts in the steps of the
// run.
type ExpertLoad struct {
	Layer  int       `json:"layer"`
	Tokens int64     `json:"tokens"` // that were routed
	Share  []float64 `json:"share"`  // of the tokens that each expert got; identity experts come last
	// Entropy of the choices, as a fraction of that of equal load.
	Entropy     float64 `json:"entropy"`
	NeverRouted int     `json:"never_routed"` // experts that got no token
}
