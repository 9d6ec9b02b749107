package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"qtool/internal/arch"
	"qtool/internal/dataset"
	"qtool/internal/loop"
	"qtool/internal/printable"
)

// finetuneReport is what finetune says at its end, with --json as it is here.
type finetuneReport struct {
	Model       string            `json:"model"`
	BaseSHA256  string            `json:"base_sha256"`
	Data        string            `json:"data"`
	Records     dataset.Report    `json:"records"`
	Plan        loop.Plan         `json:"plan"`
	MappedLimit int64             `json:"mapped_limit,omitempty"` // most bytes of the base in memory at once
	Steps       int               `json:"steps"`
	Skipped     int               `json:"skipped_steps"`
	Rollbacks   []string          `json:"rollbacks,omitempty"`
	Unrecorded  int               `json:"events_not_recorded,omitempty"` // that metrics.jsonl lacks
	LastLoss    float64           `json:"last_loss"`
	Sample      string            `json:"sample_prompt,omitempty"`
	Before      finetuneMeasure   `json:"before"`
	After       finetuneMeasure   `json:"after"`
	Experts     []loop.ExpertLoad `json:"experts,omitempty"`
	Output      string            `json:"output"`
	MergeOnly   bool              `json:"merge_only,omitempty"`
	LogitChange float64           `json:"largest_logit_change,omitempty"`
}

// finetuneMeasure is what a model can do at one time.
type finetuneMeasure struct {
	Loss   *float64 `json:"held_out_loss,omitempty"`
	Answer string   `json:"answer,omitempty"`
}

// printPlan tells what is about to happen.
func (r *finetuneReport) printPlan(f *finetuning) {
	p, say := &r.Plan, f.con.say
	say("base      %s: %s, %d layers, context %d", r.Model, f.decoder.Architecture, f.decoder.Layers, f.decoder.Context)
	if f.adapter != nil {
		say("train     %d pairs, %d parameters, on %s", len(f.adapter.Pairs), p.Parameters, strings.Join(printable.Texts(pairNames(f)), " "))
	} else {
		say("train     all weights, %d parameters", p.Parameters)
	}
	say("data      %s: %d records, %d tokens, %d of them learned; %d rows, %d held out",
		r.Data, r.Records.Records, r.Records.Tokens, r.Records.Scored, p.TrainRows, len(f.heldOut))
	if n := r.Records.Truncated; n > 0 {
		say("          %d records were cut to %d tokens", n, f.seq)
	}
	if n := r.Records.Skipped; n > 0 {
		say("          %d records have nothing to learn", n)
	}
	say("run       %d steps of %d rows, %d tokens; lr %g %s, seed %d", p.Steps, p.RowsPerStep, p.TotalTokens, f.config.Rate, f.config.Schedule, f.config.Seed)
	r.printMemory(f)
}

// printMemory tells what the run will take, before it takes it.
func (r *finetuneReport) printMemory(f *finetuning) {
	m, say := r.Plan.Memory, f.con.say
	say("memory    %s at the peak: %s activations and their gradients, %s scratch, %s %s with gradients, moments and a copy, %s the rest",
		formatBytes(m.Total), formatBytes(m.Activations), formatBytes(m.Scratch), formatBytes(m.Parameters+m.Gradients+m.Moments+m.LastGood),
		map[bool]string{true: "weights", false: "pairs"}[f.adapter == nil], formatBytes(m.Data+m.Program+m.Copied))
	if n := f.copies(m.Copied); n > 0 {
		say("          %s of that are weights that are converted on loading; from the GGUF file that quantize writes they would be read where they lie", formatBytes(n))
	}
	if m.MappedBase > 0 {
		say("          besides %s of the base, mapped", formatBytes(m.MappedBase))
	}
	if limit := f.load.Mapped; limit > 0 {
		say("          which does not fit: at most %s of it at a time, read again as it is needed", formatBytes(limit))
	}
}

// printTime tells how long the run will take, once the speed is known.
func (r *finetuneReport) printTime(f *finetuning) {
	p, say := &r.Plan, f.con.say
	say("time      about %s at %.0f tokens/s", formatSeconds(p.Seconds), p.TokensPerSecond)
	if f.runDir == "" && p.Seconds > 600 {
		say("          without --run-dir this run cannot be resumed")
	}
}

// pairNames lists the targets by their short names.
func pairNames(f *finetuning) []string {
	var out []string
	seen := map[string]bool{}
	for _, p := range f.adapter.Pairs {
		if n := arch.ShortName(p.Tensor); !seen[n] {
			seen[n] = true
			out = append(out, n)
		}
	}
	return out
}

func (r *finetuneReport) print(w io.Writer) {
	if b, a := r.Before.Loss, r.After.Loss; b != nil && a != nil {
		fmt.Fprintf(w, "held-out loss  %.4f before, %.4f after\n", *b, *a)
	} else if a != nil {
		fmt.Fprintf(w, "held-out loss  %.4f after\n", *a)
	} else {
		fmt.Fprintf(w, "training loss  %.4f in the last step; nothing was held out\n", r.LastLoss)
	}
	if r.Sample != "" {
		fmt.Fprintf(w, "prompt         %q\n", r.Sample)
		fmt.Fprintf(w, "  before       %q\n", r.Before.Answer)
		fmt.Fprintf(w, "  after        %q\n", r.After.Answer)
	}
	if r.Skipped > 0 {
		fmt.Fprintf(w, "skipped        %d of %d steps could not be computed: their rows were not learned\n", r.Skipped, r.Steps)
	}
	for _, rollback := range r.Rollbacks {
		fmt.Fprintf(w, "rolled back    %s\n", rollback)
	}
	if r.Unrecorded > 0 {
		fmt.Fprintf(w, "not recorded   %d events are missing in metrics.jsonl, which could not be written\n", r.Unrecorded)
	}
	printExperts(w, r.Experts)
	if r.LogitChange > 0 {
		fmt.Fprintf(w, "verified       it changes the logits of the base by up to %.3g\n", r.LogitChange)
	}
	fmt.Fprintf(w, "written        %s\n", r.Output)
	if r.MergeOnly {
		fmt.Fprintf(w, "               for merging into the base only: llama.cpp does not honour all of its pairs\n")
	}
}

// printExperts is a table of how each layer used its experts.
func printExperts(w io.Writer, loads []loop.ExpertLoad) {
	if len(loads) == 0 {
		return
	}
	fmt.Fprintf(w, "experts        layer    tokens      most used     least used  entropy  never used\n")
	for _, l := range loads {
		most, least := 0, 0
		for e, s := range l.Share {
			if s > l.Share[most] {
				most = e
			}
			if s < l.Share[least] {
				least = e
			}
		}
		fmt.Fprintf(w, "  %18d  %8d  %4d (%5.1f%%)  %4d (%5.1f%%)  %6.1f%%  %4d of %d\n",
			l.Layer, l.Tokens, most, 100*l.Share[most], least, 100*l.Share[least], 100*l.Entropy, l.NeverRouted, len(l.Share))
	}
}

func formatSeconds(s float64) string {
	return time.Duration(s * float64(time.Second)).Round(time.Second).String()
}
