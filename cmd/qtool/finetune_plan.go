package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"qtool/gguf"
	"qtool/internal/kernel/product"
	"qtool/internal/loop"
	"qtool/internal/memory"
)

// foretold is what --plan-only says, with --json as it is here.
type foretold struct {
	Model string `json:"model"`
	loop.Estimate
	PeakGFLOPS    float64 `json:"peak_gflops"`         // measured, of this machine's multipliers
	BandwidthGBps float64 `json:"bandwidth_gbps"`      // measured, of its memory; 0 if that is too small
	Available     int64   `json:"available_bytes"`     // 0 if the system does not tell
	Fits          bool    `json:"base_fits"`           // in memory beside the rest
	Short         string  `json:"too_large,omitempty"` // what says that the run does not fit, the base apart
	Advice        string  `json:"advice,omitempty"`    // what would
	// Measured says that the time is that of batches, or of a block of them, that were
	// computed; else they would not fit, and it is the least there can be.
	Measured bool    `json:"measured"`
	Seconds  float64 `json:"seconds_per_million_tokens"`
	// DiskGBps is what the disk must give not to hold that up where the base does not fit.
	DiskGBps float64 `json:"disk_gbps_wanted,omitempty"`
}

// foretell tells what a run would take, without reading the weights.
func (f *finetuning) foretell(ctx context.Context) (err error) {
	f.load.Shapes, f.load.TrainWeights = true, f.full != ""
	if info, statErr := os.Stat(f.model); f.model != "" && statErr == nil && info.Mode().IsRegular() {
		f.report.Model = f.model
		f.base, err = opened(gguf.Open(f.model, gguf.WithoutData()))
		if err == nil {
			err = f.loadBase()
		}
	} else {
		err = f.openBase(ctx)
	}
	if err != nil {
		return err
	}
	if err := f.makeAdapter(ctx); err != nil {
		return err
	}
	forecast := loop.Foretell(f.config, f.decoder, f.params(), f.pool, f.seq, f.budget.held, f.budget.forRehearsals())
	r := foretold{Model: f.report.Model, Available: f.budget.least(), Estimate: forecast.Estimate}
	p := f.planner()
	d := p.demand(forecast.Memory)
	if d.atLeast {
		if d, err = p.plan(p.asked); err != nil {
			return err
		}
		r.FLOPsPerToken = p.multiplied()
	}
	if !f.budget.fits(d) {
		r.Short, r.Advice = f.budget.shortage(d), p.advice(d)
		if err := f.attach(f.adapter); err != nil { // in place of what was tried
			return err
		}
	}
	if f.adapter != nil { // it has zeros for experts without a pair
		r.DiskBytes -= r.ResultBytes
		r.ResultBytes = 0
		for _, t := range f.adapter.Model().Tensors() {
			r.ResultBytes += t.Size()
		}
		r.DiskBytes += r.ResultBytes
	}
	if err := r.measure(ctx, f, forecast); err != nil {
		return err
	}
	if f.con.json {
		return f.con.printJSON(r)
	}
	r.print(f)
	return nil
}

func (r *foretold) measure(ctx context.Context, f *finetuning, forecast *loop.Forecast) error {
	const each = 300 * time.Millisecond
	r.PeakGFLOPS = product.MeasurePeak(f.pool, each)
	if f.budget.fits(demand{Need: memory.Need{Own: product.BandwidthBytes}}) {
		r.BandwidthGBps = product.MeasureBandwidth(f.pool, each)
	}
	most := f.budget.forFiles()
	r.Fits = most == 0 || r.Memory.Total+r.Memory.MappedBase <= most
	step := r.FLOPsPerToken * float64(r.StepTokens) / (r.PeakGFLOPS * 1e9)
	if r.Measured = r.Short == "" && !r.Memory.AtLeast; r.Measured {
		const short = 2 * time.Second
		f.con.detail("measuring the speed of a batch, or of a block where batches take long")
		var err error
		if step, err = forecast.Time(ctx, r.PeakGFLOPS*1e9, short); err != nil {
			return err
		}
	}
	if r.BandwidthGBps > 0 {
		step += float64(r.OptimizerBytes) / (r.BandwidthGBps * 1e9)
		step = max(step, r.ReadBytes/(r.BandwidthGBps*1e9))
	}
	const million = 1e6
	r.Seconds = step / float64(r.StepTokens) * million
	if !r.Fits {
		r.DiskGBps = r.ReadBytes / step / 1e9
	}
	return nil
}

func (r *foretold) print(f *finetuning) {
	m, say := &r.Memory, func(format string, args ...any) { fmt.Fprintf(f.con.out, format+"\n", args...) }
	result, trained := "adapter", "pairs"
	if f.full != "" {
		result, trained = "the trained model", "weights"
	}
	say("base      %s: %s, %d layers, %s", r.Model, r.Architecture, r.Layers, formatBytes(r.BaseBytes))
	say("train     %d parameters; steps of %d tokens in rows of %d", r.Trained, r.StepTokens, r.Seq)
	say("disk      %s: the base, %s %s, %s checkpoints", formatBytes(r.DiskBytes), formatBytes(r.ResultBytes), result, formatBytes(2*r.CheckpointBytes))
	atLeast := ""
	if m.AtLeast {
		atLeast = "at least "
	}
	say("memory    %s%s: %s activations and their gradients, %s scratch, %s %s with gradients, moments and a copy, %s the rest",
		atLeast, formatBytes(m.Total), formatBytes(m.Activations), formatBytes(m.Scratch), formatBytes(m.Parameters+m.Gradients+m.Moments+m.LastGood), trained, formatBytes(m.Data+m.Program+m.Copied))
	if n := f.copies(m.Copied); n > 0 {
		say("          %s of that are weights that are converted on loading; from the GGUF file that quantize writes they would be read where they lie", formatBytes(n))
	}
	switch {
	case r.Short != "":
		say("          that is too much: %s; %s", r.Short, r.Advice)
	case m.MappedBase > 0 && !r.Fits:
		say("          the base does not fit beside it: it is read block by block, %s at once", formatBytes(r.LargestPart))
	}
	if m.MappedBase > 0 {
		say("reading   %s of the base in a step", formatBytes(int64(r.ReadBytes)))
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
