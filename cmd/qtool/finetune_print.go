package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"qtool/internal/followup"
	"qtool/internal/printable"
	"qtool/train"
)

// printPlan tells what is about to happen.
func printPlan(con *console, j *train.Job, r *train.Report) {
	p, say := &r.Plan, con.say
	say("base      %s: %s, %d layers, context %d", r.Model, p.Architecture, r.Layers, r.Context)
	if r.Pairs > 0 {
		say("train     %d pairs, %d parameters, on %s", r.Pairs, p.Parameters, strings.Join(printable.Texts(r.Targets), " "))
	} else {
		say("train     all weights, %d parameters", p.Parameters)
	}
	say("data      %s: %d records, %d tokens, %d of them learned; %d rows",
		r.Data, r.Records.Records, r.Records.Tokens, r.Records.Scored, p.TrainRows)
	if r.Evaluated.Of > 0 {
		say("held out  %s; evaluated: %s", printable.Count(r.Evaluated.Of, "example"), evaluatedPart(r.Evaluated))
	}
	if n := r.Records.Skipped; n > 0 {
		say("          %d records have nothing to learn", n)
	}
	printRecords(con, &r.Records)
	say("run       %s of %s, %d tokens; lr %g %s, seed %d", printable.Count(p.Steps, "step"), printable.Count(p.RowsPerStep, "row"), p.TotalTokens, j.Config.Rate, j.Config.Schedule, j.Config.Seed)
	printMemory(con, r)
}

// evaluatedPart says what a held-out loss is of.
func evaluatedPart(e train.Evaluated) string {
	if e.Examples == e.Of {
		return fmt.Sprintf("all %s, %s", printable.Count(e.Of, "example"), printable.Count(e.Tokens, "token"))
	}
	return fmt.Sprintf("%d of %s, %s, drawn by the seed", e.Examples, printable.Count(e.Of, "example"), printable.Count(e.Tokens, "token"))
}

// printMemory tells what the run will take, before it takes it.
func printMemory(con *console, r *train.Report) {
	m, say := r.Plan.Memory, con.say
	say("memory    %s at the peak: %s activations and their gradients, %s scratch, %s %s with gradients, moments and a copy, %s the rest",
		printable.Bytes(m.Total), printable.Bytes(m.Activations), printable.Bytes(m.Scratch), printable.Bytes(m.Parameters+m.Gradients+m.Moments+m.LastGood),
		map[bool]string{true: "weights", false: "pairs"}[r.Pairs == 0], printable.Bytes(m.Data+m.Program+m.Copied))
	if n := r.Converted; n > 0 {
		say("          %s of that are weights that are converted on loading; from the GGUF file that quantize writes they would be read where they lie", printable.Bytes(n))
	}
	if m.MappedBase > 0 {
		say("          besides %s of the base, mapped", printable.Bytes(m.MappedBase))
	}
	if limit := r.MappedLimit; limit > 0 {
		say("          which does not fit: at most %s of it at a time, read again as it is needed", printable.Bytes(limit))
	}
}

// printTime tells how long the run will take, once the speed is known.
func printTime(con *console, j *train.Job, r *train.Report) {
	p, say := &r.Plan, con.say
	say("time      about %s at %.0f tokens/s", formatSeconds(p.Seconds), p.TokensPerSecond)
	if j.RunDir == "" && p.Seconds > 600 {
		say("          without --run-dir this run cannot be resumed")
	}
}

// printFinetune tells what came of a job.
func printFinetune(w io.Writer, r *train.Report) {
	if r.Judgement != "" {
		fmt.Fprintf(w, "%-14s %s\n", r.Verdict, r.Judgement)
	}
	if b, a := r.Before.Loss, r.After.Loss; b != nil && a != nil {
		fmt.Fprintf(w, "held-out loss  %.4f before, %.4f after, over %s\n", *b, *a, evaluatedPart(r.Evaluated))
	} else if a != nil {
		fmt.Fprintf(w, "held-out loss  %.4f after, over %s\n", *a, evaluatedPart(r.Evaluated))
	} else {
		fmt.Fprintf(w, "training loss  %.4f in the last step; nothing was held out, so that it is not known what was learned\n", r.LastLoss)
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

// sayNext prints command lines that can be pasted, and what is to be known of them. With
// --json they are in the report.
func sayNext(con *console, lines []followup.Line) {
	if con.json {
		return
	}
	con.say("next, ready to paste:")
	for _, l := range lines {
		if l.Note != "" {
			con.say("# %s: %s", l.For, l.Note)
		}
		if l.Command != "" {
			con.say("%s", l.Command)
		}
	}
}

// printExperts is a table of how each layer used its experts.
func printExperts(w io.Writer, loads []train.ExpertLoad) {
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

// printEstimate tells what a job would take.
func printEstimate(w io.Writer, j *train.Job, r *train.Estimate) {
	m, say := &r.Memory, func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }
	result, trained := "adapter", "pairs"
	if j.Full != "" {
		result, trained = "the trained model", "weights"
	}
	say("base      %s: %s, %d layers, %s", r.Model, r.Architecture, r.Layers, printable.Bytes(r.BaseBytes))
	say("train     %d parameters; steps of %d tokens in rows of %d", r.Trained, r.StepTokens, r.Seq)
	say("disk      %s: the base, %s %s, %s checkpoints", printable.Bytes(r.DiskBytes), printable.Bytes(r.ResultBytes), result, printable.Bytes(2*r.CheckpointBytes))
	atLeast := ""
	if m.AtLeast {
		atLeast = "at least "
	}
	say("memory    %s%s: %s activations and their gradients, %s scratch, %s %s with gradients, moments and a copy, %s the rest",
		atLeast, printable.Bytes(m.Total), printable.Bytes(m.Activations), printable.Bytes(m.Scratch), printable.Bytes(m.Parameters+m.Gradients+m.Moments+m.LastGood), trained, printable.Bytes(m.Data+m.Program+m.Copied))
	if n := r.Converted; n > 0 {
		say("          %s of that are weights that are converted on loading; from the GGUF file that quantize writes they would be read where they lie", printable.Bytes(n))
	}
	switch {
	case r.Short != "":
		say("          that is too much: %s; %s", r.Short, r.Advice)
	case m.MappedBase > 0 && !r.Fits:
		say("          the base does not fit beside it: it is read block by block, %s at once", printable.Bytes(r.LargestBlock))
	}
	if m.MappedBase > 0 {
		say("reading   %s of the base in a step", printable.Bytes(int64(r.ReadBytes)))
	}
	if r.FLOPsPerToken == 0 { // not even one row could be gone through
		return
	}
	say("compute   %.3g GFLOP for a token", r.FLOPsPerToken/1e9)
	how := "at least %s for a million tokens, at the %.0f GFLOP/s and %.1f GB/s measured here"
	if r.Measured {
		how = "about %s for a million tokens, as measured here with weights of zeros; the peak is %.0f GFLOP/s and %.1f GB/s"
	}
	say("time      "+how, formatSeconds(r.Seconds), r.PeakGFLOPS, r.BandwidthGBps)
	if r.DiskGBps > 0 {
		say("          if the disk gives %.2f GB/s; longer where it gives less", r.DiskGBps)
	}
}
