package train

import (
	"context"
	"time"

	"qtool/internal/budget"
	"qtool/internal/kernel/product"
	"qtool/internal/loop"
	"qtool/internal/memory"
	"qtool/train/run"
)

// Estimate is what a job would take, found out without reading the weights.
type Estimate struct {
	Model string `json:"model"`
	run.Estimate
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

	Converted int64 `json:"-"` // bytes of memory that a GGUF file as base would not take
}

// Estimate finds out what the job would take: steps of full rows, with weights of zeros. Of
// a GGUF file only the header is read. With Data, rows are as long as [Job.Run] chooses them;
// without, as long as it would at most.
func (j *Job) Estimate(ctx context.Context) (*Estimate, error) {
	if err := j.checkRun(); err != nil {
		return nil, err
	}
	f, err := newTuning(j)
	if err != nil {
		return nil, err
	}
	defer f.close()
	f.planOnly, f.load.Shapes = true, true
	return f.estimate(ctx)
}

func (f *tuning) estimate(ctx context.Context) (*Estimate, error) {
	if len(f.Data) > 0 {
		if err := f.findData(); err != nil {
			return nil, err
		}
		if err := f.set.Check(); err != nil {
			return nil, err
		}
	}
	if err := f.openBase(ctx); err != nil {
		return nil, err
	}
	if f.set != nil || f.demo() {
		if err := f.readData(ctx); err != nil {
			return nil, err
		}
		f.Config.Batch = min(f.Config.Batch, len(f.rows)) // as the run does
	}
	if err := f.makeAdapter(ctx); err != nil {
		return nil, err
	}
	estimator := loop.NewEstimator(f.Config, f.decoder, f.params(), f.pool, f.Seq, f.budget.Held, f.budget.ForRehearsals())
	r := Estimate{Model: f.report.Model, Available: f.budget.Least(), Estimate: estimator.Estimate}
	p := f.planner()
	d := p.demand(estimator.Memory)
	if d.AtLeast {
		var err error
		if d, err = p.plan(p.asked); err != nil {
			return nil, err
		}
		r.FLOPsPerToken = p.multiplied()
	}
	if !f.budget.Fits(d) {
		r.Short, r.Advice = f.budget.Shortage(d), p.advice(d)
		if err := f.attach(f.adapter); err != nil { // in place of what was tried
			return nil, err
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
	r.Converted = f.copies(r.Memory.Copied)
	return &r, r.measure(ctx, f, estimator)
}

func (r *Estimate) measure(ctx context.Context, f *tuning, estimator *loop.Estimator) error {
	const each = 300 * time.Millisecond
	r.PeakGFLOPS = product.MeasurePeak(f.pool, each)
	if f.budget.Fits(budget.Demand{Need: memory.Need{Own: product.BandwidthBytes}}) {
		r.BandwidthGBps = product.MeasureBandwidth(f.pool, each)
	}
	most := f.budget.ForFiles()
	r.Fits = most == 0 || r.Memory.Total+r.Memory.MappedBase <= most
	step := r.FLOPsPerToken * float64(r.StepTokens) / (r.PeakGFLOPS * 1e9)
	if r.Measured = r.Short == "" && !r.Memory.AtLeast; r.Measured {
		const short = 2 * time.Second
		f.Observer.detail("measuring the speed of a batch, or of a block where batches take long")
		var err error
		if step, err = estimator.Time(ctx, r.PeakGFLOPS*1e9, short); err != nil {
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
