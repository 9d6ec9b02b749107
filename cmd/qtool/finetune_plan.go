package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"qtool/gguf"
	"qtool/internal/kernel"
	"qtool/lora"
	"qtool/train"
)

// foretold is what --plan-only says, with --json as it is here.
type foretold struct {
	Model string `json:"model"`
	train.Estimate
	PeakGFLOPS    float64 `json:"peak_gflops"`     // measured, of this machine's multipliers
	BandwidthGBps float64 `json:"bandwidth_gbps"`  // measured, of its memory
	Available     int64   `json:"available_bytes"` // 0 if the system does not tell
	Fits          bool    `json:"base_fits"`       // in memory beside the rest
	// Seconds is the least time for a million tokens: computing at the peak, or reading
	// the base as fast as memory gives it, whichever is longer.
	Seconds float64 `json:"seconds_per_million_tokens"`
	// DiskGBps is what the disk must give not to hold that up where the base does not fit.
	DiskGBps float64 `json:"disk_gbps_wanted,omitempty"`
}

// foretell tells what a run would take, without reading the weights.
func (f *finetuning) foretell(ctx context.Context) (err error) {
	f.load.Shapes = true
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
	adapter, err := lora.New(f.decoder, lora.Config{Rank: f.rank, Alpha: f.alpha, Targets: f.targets, MergeOnly: f.mergeOnly, Shapes: true})
	if err != nil {
		return usagef("finetune: %v", err)
	}
	adapter.MergeOnly = f.mergeOnly
	if err := adapter.Attach(f.decoder); err != nil {
		return err
	}
	f.pool = kernel.NewPool(f.threads)
	r := foretold{Model: f.report.Model, Available: availableMemory()}
	r.Estimate = train.Foretell(f.config, f.decoder, adapter.Params(), f.pool, f.seq, f.program)
	r.measure(f.pool, f.maxResident)
	if f.con.json {
		return f.con.printJSON(r)
	}
	r.print(f)
	return nil
}

func (r *foretold) measure(pool *kernel.Pool, maxResident int64) {
	const each = 300 * time.Millisecond
	r.PeakGFLOPS, r.BandwidthGBps = kernel.MeasurePeak(pool, each), kernel.MeasureBandwidth(pool, each)
	const million = 1e6
	read := r.ReadBytes / float64(r.StepTokens) * million
	r.Seconds = max(r.FLOPsPerToken*million/(r.PeakGFLOPS*1e9), read/(r.BandwidthGBps*1e9))
	most := maxResident
	if most == 0 {
		most = r.Available
	}
	if r.Fits = most == 0 || r.Memory.Total+r.BaseBytes <= most; !r.Fits {
		r.DiskGBps = read / r.Seconds / 1e9
	}
}

func (r *foretold) print(f *finetuning) {
	m, say := &r.Memory, func(format string, args ...any) { fmt.Fprintf(f.con.out, format+"\n", args...) }
	say("base      %s: %s, %d layers, %s", r.Model, r.Architecture, r.Layers, formatBytes(r.BaseBytes))
	say("train     %d parameters; steps of %d tokens in rows of %d", r.Trained, r.StepTokens, r.Seq)
	say("disk      %s: the base, %s adapter, %s checkpoints", formatBytes(r.DiskBytes), formatBytes(r.AdapterBytes), formatBytes(2*r.CheckpointBytes))
	say("memory    %s: %s activations and their gradients, %s scratch, %s pairs with gradients, moments and a copy, %s the rest",
		formatBytes(m.Total), formatBytes(m.Activations), formatBytes(m.Scratch), formatBytes(m.Parameters+m.Gradients+m.Moments+m.LastGood), formatBytes(m.Data+m.Program))
	if !r.Fits {
		say("          the base does not fit beside it: it is read block by block, %s at once", formatBytes(r.LargestPart))
	}
	say("reading   %s of the base in a step", formatBytes(int64(r.ReadBytes)))
	say("compute   %.3g GFLOP for a token", r.FLOPsPerToken/1e9)
	say("time      at least %s for a million tokens, at the %.0f GFLOP/s and %.1f GB/s measured here", formatSeconds(r.Seconds), r.PeakGFLOPS, r.BandwidthGBps)
	if r.DiskGBps > 0 {
		say("          if the disk gives %.2f GB/s; longer where it gives less", r.DiskGBps)
	}
}
