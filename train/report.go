package train

import (
	"qtool/train/run"
)

// Report is what came of a job, so far.
type Report struct {
	Model       string           `json:"model"`
	BaseSHA256  string           `json:"base_sha256"`
	Data        string           `json:"data"`
	Records     Records          `json:"records"`
	Evaluated   Evaluated        `json:"evaluated"`
	Chosen      string           `json:"chosen,omitempty"`   // what was chosen from the data, and why
	Warnings    []string         `json:"warnings,omitempty"` // reasons why the run may not do what it is for
	Plan        run.Plan         `json:"plan"`
	MappedLimit int64            `json:"mapped_limit,omitempty"` // most bytes of the base in memory at once
	Steps       int              `json:"steps"`
	Skipped     int              `json:"skipped_steps"`
	Rollbacks   []string         `json:"rollbacks,omitempty"`
	Unrecorded  int              `json:"events_not_recorded,omitempty"` // that metrics.jsonl lacks
	LastLoss    float64          `json:"last_loss"`
	Sample      string           `json:"sample_prompt,omitempty"`
	Before      Measure          `json:"before"`
	After       Measure          `json:"after"`
	Best        *Lowest          `json:"best,omitempty"` // of the evaluations on the way and after
	Verdict     Verdict          `json:"verdict"`
	Judgement   string           `json:"judgement,omitempty"` // why it is not better, and what to do
	Experts     []run.ExpertLoad `json:"experts,omitempty"`
	Output      string           `json:"output"`
	MergeOnly   bool             `json:"merge_only,omitempty"`
	// How the adapter was verified: the largest change of a logit.
	LogitChange float64 `json:"largest_logit_change,omitempty"`

	// What the plan is about.
	Layers    int      `json:"-"` // of the base
	Context   int      `json:"-"` // of the base
	Pairs     int      `json:"-"` // that are trained; 0: all weights are
	Targets   []string `json:"-"` // the short names of what the pairs change
	HeldOut   int      `json:"-"` // rows
	Seq       int      `json:"-"` // most tokens in a row
	Converted int64    `json:"-"` // bytes of memory that a GGUF file as base would not take
}

// Measure is what a model can do at one time.
type Measure struct {
	Loss   *float64 `json:"held_out_loss,omitempty"`
	Answer string   `json:"answer,omitempty"`
}

// Evaluated is what part of the held-out examples is evaluated, before and after.
type Evaluated struct {
	Examples int `json:"examples"`
	Of       int `json:"of"` // held-out examples
	Tokens   int `json:"tokens"`
}
