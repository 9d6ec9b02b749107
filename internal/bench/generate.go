package bench

import (
	"context"
	"slices"
	"time"

	"qtool/fixtures"
	"qtool/internal/arch"
	"qtool/internal/kernel/product"
	"qtool/internal/kernel/simd"
	"qtool/internal/model"
	"qtool/internal/nn"
)

// GenerateOptions choose the model and the run of [Generate].
type GenerateOptions struct {
	Shape    fixtures.Shape
	FileType string // such as "Q4_K_M"
	Context  int    // tokens that are cached before the first that is measured
	Tokens   int    // that are measured
	Rank     int    // of pairs on all linear targets; 0: no pairs
	Threads  int    // 0 is all
}

// GenerateResult is what [Generate] measured.
type GenerateResult struct {
	CPU             string  `json:"cpu"`
	Tier            string  `json:"tier"`
	Threads         int     `json:"threads"`
	Parameters      int     `json:"parameters"` // of the base
	ModelBytes      int64   `json:"model_bytes"`
	Context         int     `json:"context"`
	Rank            int     `json:"rank"`
	TokensPerSecond float64 `json:"tokens_per_second"` // of the median token
	TokenSeconds    float64 `json:"token_seconds"`     // median
	BestSeconds     float64 `json:"best_token_seconds"`
	WeightBytes     int64   `json:"weight_bytes_per_token"` // of the base, that each token reads
	WeightRate      float64 `json:"weights_gb_per_second"`  // of the median token
	Bandwidth       float64 `json:"bandwidth_gb_per_second"`
	Fraction        float64 `json:"fraction_of_bandwidth"` // WeightRate / Bandwidth
}

// Generate measures the time from one generated token to the next over a synthetic
// model, but for drawing it, and what memory gives all threads before and after that:
// Bandwidth is the larger.
func Generate(ctx context.Context, opt GenerateOptions) (*GenerateResult, error) {
	m, err := mapSynthetic(ctx, opt.Shape, opt.FileType)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	if opt.Rank > 0 {
		if _, err := attachPairs(m.decoder, opt.Rank); err != nil {
			return nil, err
		}
	}
	pool := product.NewPool(opt.Threads)
	defer pool.Close()
	r := &GenerateResult{CPU: cpuName(), Tier: simd.Active().String(), Threads: pool.Workers(), Context: opt.Context, Rank: opt.Rank}
	r.Parameters, r.ModelBytes = m.size()
	r.WeightBytes = m.bytesPerToken()
	const each = 200 * time.Millisecond
	r.Bandwidth = product.MeasureBandwidth(pool, each)
	seconds, err := generatedTokens(ctx, m.decoder, pool, opt)
	if err != nil {
		return nil, err
	}
	r.Bandwidth = max(r.Bandwidth, product.MeasureBandwidth(pool, each))
	slices.Sort(seconds)
	r.BestSeconds, r.TokenSeconds = seconds[0], seconds[len(seconds)/2]
	r.TokensPerSecond = 1 / r.TokenSeconds
	r.WeightRate = float64(r.WeightBytes) * r.TokensPerSecond / 1e9
	r.Fraction = r.WeightRate / r.Bandwidth
	return r, nil
}

// bytesPerToken is what one token reads of the weights: of the embedding one row, of
// experts those that are used.
func (m *mapped) bytesPerToken() (bytes int64) {
	d := m.decoder
	for _, t := range m.file.Tensors() {
		switch {
		case t.Name == arch.TokenEmbedding:
			bytes += t.Size() / int64(d.Vocabulary)
		case len(t.Shape) == 3:
			bytes += t.Size() / int64(d.Experts) * int64(d.ExpertsUsed)
		default:
			bytes += t.Size()
		}
	}
	return bytes
}

func generatedTokens(ctx context.Context, d *model.Decoder, pool *product.Pool, opt GenerateOptions) (seconds []float64, err error) {
	tape, cache, batch := nn.NewTape(pool), d.NewCache(opt.Context+opt.Tokens+1), &model.Batch{}
	feed := func(tokens []int32) {
		tape.Reset(false)
		batch.Set(tokens, []int{0})
		hidden := d.Hidden(tape, batch, cache, false)
		d.Logits(tape, nn.Constant(hidden.Row(hidden.Rows-1), 1, hidden.Cols))
	}
	tokens := randomTokens(d, opt.Context+opt.Tokens+1)
	const chunk = 128
	err = pool.Within(ctx, func() error {
		for from := 0; from < opt.Context; from += chunk {
			feed(tokens[from:min(from+chunk, opt.Context)])
		}
		for i, token := range tokens[opt.Context:] {
			start := time.Now()
			feed([]int32{token})
			if i > 0 { // the first maps what no prompt has touched
				seconds = append(seconds, time.Since(start).Seconds())
			}
		}
		return nil
	})
	return seconds, err
}
