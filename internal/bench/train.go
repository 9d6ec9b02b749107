package bench

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"qtool/fixtures"
	"qtool/internal/adapt"
	"qtool/internal/arch"
	"qtool/internal/dataset"
	"qtool/internal/kernel/product"
	"qtool/internal/loop"
	"qtool/internal/model"
	"qtool/internal/nn"
)

// TrainOptions choose the model and the run of [Train].
type TrainOptions struct {
	Shape         fixtures.Shape
	FileType      string // such as "Q4_K_M"
	Seq           int    // tokens of the one row of a step
	Rank          int    // of the pairs on all linear targets
	Steps         int    // measured, after one that is not
	Threads       int    // 0 is all
	Checkpointing bool
	Precision     string // as in loop.Config
	Forward       bool   // only forward passes, without a loss
}

// TrainResult is what [Train] measured.
type TrainResult struct {
	Parameters      int     `json:"parameters"` // of the base
	Trained         int     `json:"trained_parameters"`
	ModelBytes      int64   `json:"model_bytes"`
	Threads         int     `json:"threads"`
	Precision       string  `json:"precision"`
	Tokens          int     `json:"tokens_per_step"`
	TokensPerSecond float64 `json:"tokens_per_second"` // of the median step
	StepSeconds     float64 `json:"step_seconds"`      // median
	BestSeconds     float64 `json:"best_step_seconds"`
	FLOPsPerToken   float64 `json:"flops_per_token"` // of the products with base weights
	GFLOPS          float64 `json:"gflops"`
	Peak            float64 `json:"peak_gflops"` // the higher one of before and after
	Fraction        float64 `json:"flops_fraction_of_peak"`
	PlannedBytes    int64   `json:"planned_memory_bytes"`   // beside the mapped base, predicted by the plan
	AnonymousBytes  int64   `json:"anonymous_memory_bytes"` // measured: resident, but not of a file; 0 where it cannot be told
	PeakRSSBytes    int64   `json:"peak_rss_bytes"`         // of the process, files included; 0 where it cannot be told

	Memory *loop.Memory `json:"memory_bytes,omitempty"` // of what PlannedBytes is made
}

// Train writes a synthetic model to a temporary file, maps it as a user's
// model is mapped, and measures training steps, or forward passes, over it.
func Train(ctx context.Context, opt TrainOptions) (*TrainResult, error) {
	m, err := mapSynthetic(ctx, opt.Shape, opt.FileType)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	d := m.decoder
	pool := product.NewPool(opt.Threads)
	defer pool.Close()
	pool.SetPrecision(loop.KernelPrecision(opt.Precision))
	const peakTime = 200 * time.Millisecond
	before := product.MeasurePeak(pool, peakTime)
	r := &TrainResult{Threads: pool.Workers(), Tokens: opt.Seq}
	r.Parameters, r.ModelBytes = m.size()
	r.FLOPsPerToken = 2 * multiplied(d)
	var seconds []float64
	if opt.Forward {
		seconds, err = forwardPasses(ctx, d, pool, opt)
	} else {
		r.FLOPsPerToken *= 2 // forward, and back through the weights
		seconds, err = trainingSteps(ctx, d, pool, opt, r)
	}
	if err != nil {
		return nil, err
	}
	slices.Sort(seconds)
	r.BestSeconds, r.StepSeconds = seconds[0], seconds[len(seconds)/2]
	r.TokensPerSecond = float64(opt.Seq) / r.StepSeconds
	r.GFLOPS = r.FLOPsPerToken * r.TokensPerSecond / 1e9
	r.Precision, r.PeakRSSBytes = pool.Precision(), peakRSS()
	r.Peak = max(before, product.MeasurePeak(pool, peakTime))
	r.Fraction = r.GFLOPS / r.Peak
	return r, nil
}

// multiplied is the number of base weights that one token is multiplied with.
func multiplied(d *model.Decoder) float64 {
	n := float64(d.Vocabulary * d.Embedding)
	for _, t := range d.Targets() {
		if arch.ShortName(t.Tensor) == "token_embd" || arch.ShortName(t.Tensor) == "output" {
			continue
		}
		in, out, experts := t.Shape()
		weights := float64(in * out)
		if experts > 1 {
			weights *= float64(d.ExpertsUsed)
		}
		n += weights
	}
	return n
}

func randomRow(d *model.Decoder, seq int) dataset.Row {
	return dataset.Row{Docs: []dataset.Example{{IDs: randomTokens(d, seq+1)}}}
}

func randomTokens(d *model.Decoder, n int) []int32 {
	rng := rand.New(rand.NewPCG(3, 4))
	ids := make([]int32, n)
	for i := range ids {
		ids[i] = int32(rng.IntN(d.Vocabulary))
	}
	return ids
}

// attachPairs binds new pairs of that rank to all linear targets.
func attachPairs(d *model.Decoder, rank int) (*adapt.Adapter, error) {
	a, err := adapt.New(d, adapt.Config{Rank: rank, Alpha: 2 * float32(rank)})
	if err != nil {
		return nil, err
	}
	return a, a.Attach(d)
}

func trainingSteps(ctx context.Context, d *model.Decoder, pool *product.Pool, opt TrainOptions, r *TrainResult) ([]float64, error) {
	a, err := attachPairs(d, opt.Rank)
	if err != nil {
		return nil, err
	}
	c := loop.DefaultConfig()
	c.Steps, c.Checkpointing, c.Precision, c.SaveEvery = opt.Steps, opt.Checkpointing, opt.Precision, 0
	var seconds []float64
	last := time.Now()
	run, err := loop.New(loop.Setup{
		Config: c, Decoder: d, Params: a.Params(), Rows: []dataset.Row{randomRow(d, opt.Seq)}, Pool: pool,
		Report: func(e loop.Event) error {
			if e.Type != loop.StepEvent {
				return nil
			}
			seconds = append(seconds, time.Since(last).Seconds())
			r.AnonymousBytes = max(r.AnonymousBytes, anonymousRSS())
			last = time.Now()
			return nil
		},
	})
	if err != nil {
		return nil, err
	}
	memory := run.PlanMemory()
	r.Memory, r.PlannedBytes = &memory, memory.Total
	plan, err := run.Probe(ctx)
	if err != nil {
		return nil, err
	}
	r.Trained = plan.Parameters
	last = time.Now()
	err = run.Train(ctx)
	return seconds, err
}

func forwardPasses(ctx context.Context, d *model.Decoder, pool *product.Pool, opt TrainOptions) (seconds []float64, err error) {
	row := randomRow(d, opt.Seq)
	batch := model.NewBatch(row.Docs[0].Tokens(), []int{0})
	tape := nn.NewTape(pool)
	err = pool.Within(ctx, func() error {
		for pass := range opt.Steps + 1 {
			start := time.Now()
			tape.Reset(false)
			hidden := d.Hidden(tape, batch, nil, false)
			// As when a prompt is read: only the last token's logits are wanted.
			d.Logits(tape, nn.Constant(hidden.Row(hidden.Rows-1), 1, hidden.Cols))
			if pass > 0 {
				seconds = append(seconds, time.Since(start).Seconds())
			}
		}
		return nil
	})
	return seconds, err
}
