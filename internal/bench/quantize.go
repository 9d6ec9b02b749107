package bench

import (
	"context"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"time"

	"qtool/fixtures"
	"qtool/gguf"
	"qtool/internal/kernel/product"
	"qtool/internal/kernel/simd"
	"qtool/quantize"
)

// QuantizeOptions choose what [Quantize] measures.
type QuantizeOptions struct {
	Threads int           // 0 is all
	Types   []string      // nil is all that can be encoded
	Each    time.Duration // at least, for each type with and without importance
}

// QuantizeResult is what [Quantize] measured.
type QuantizeResult struct {
	CPU     string         `json:"cpu"`
	Tier    string         `json:"tier"`
	Threads int            `json:"threads"`
	Source  string         `json:"source"`
	Results []EncodingRate `json:"results"`
}

// EncodingRate is how much of the source is converted to a type in a second, without
// importance and with it.
type EncodingRate struct {
	Type     string  `json:"type"`
	Plain    float64 `json:"gb_per_second"`
	Weighted float64 `json:"gb_per_second_with_importance"`
}

// Quantize measures the conversion of F16 weights in memory to each type, as quantizing a
// model does it, without files. progress, unless nil, is told how many types are done.
func Quantize(ctx context.Context, opt QuantizeOptions, progress func(done, total int)) (*QuantizeResult, error) {
	types, err := encodableTypes(opt.Types)
	if err != nil {
		return nil, err
	}
	pool := product.NewPool(opt.Threads)
	defer pool.Close()
	r := &QuantizeResult{CPU: cpuName(), Tier: simd.Active().String(), Threads: pool.Workers(), Source: gguf.F16.String()}
	source := gaussianTensor()
	importance := make([]float32, source.Shape[0])
	rng := rand.New(rand.NewPCG(9, 10))
	for i := range importance {
		importance[i] = float32(rng.ExpFloat64())
	}
	for i, t := range types {
		rate := EncodingRate{Type: t.String()}
		if rate.Plain, err = encodingRate(ctx, source, t, nil, r.Threads, opt.Each); err != nil {
			return nil, err
		}
		if rate.Weighted, err = encodingRate(ctx, source, t, importance, r.Threads, opt.Each); err != nil {
			return nil, err
		}
		r.Results = append(r.Results, rate)
		if progress != nil {
			progress(i+1, len(types))
		}
	}
	return r, nil
}

func encodableTypes(names []string) (types []gguf.Type, err error) {
	for _, name := range names {
		t, err := gguf.ParseType(name)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", quantize.ErrUnsupported, err)
		}
		if _, err := quantize.LookupEncoder(t); err != nil {
			return nil, err
		}
		types = append(types, t)
	}
	if names == nil {
		for t := range gguf.Type(64) {
			if quantize.CanEncode(t) {
				types = append(types, t)
			}
		}
	}
	return types, nil
}

// gaussianTensor is a million F16 weights, distributed as those of models are.
func gaussianTensor() *gguf.Tensor {
	const columns, rows = 4096, 256
	rng := rand.New(rand.NewPCG(7, 8))
	x := make([]float32, columns*rows)
	for i := range x {
		x[i] = float32(rng.NormFloat64() / math.Sqrt(columns))
	}
	data := make([]byte, 2*len(x))
	codec, _ := quantize.LookupEncoder(gguf.F16)
	codec.EncodeRow(data, x, nil)
	return &gguf.Tensor{Name: "weight", Type: gguf.F16, Shape: []int{columns, rows}, Data: gguf.Memory(data)}
}

// encodingRate is gigabytes of source in a second: the best of several passes.
func encodingRate(ctx context.Context, source *gguf.Tensor, t gguf.Type, importance []float32, threads int, each time.Duration) (float64, error) {
	target, err := quantize.Convert(source, t, importance)
	if err != nil {
		return 0, err
	}
	m := gguf.Assemble(&gguf.Metadata{}, []*gguf.Tensor{target})
	best := math.Inf(1)
	for begun := time.Now(); ; {
		start := time.Now()
		if err := gguf.Write(ctx, io.Discard, m, gguf.WithThreads(threads)); err != nil {
			return 0, err
		}
		best = min(best, time.Since(start).Seconds())
		if time.Since(begun) >= each {
			return float64(source.Size()) / best / 1e9, nil
		}
	}
}

// WriteSynthetic writes an F16 model of random weights and of the given shape: what
// quantizing whole files is measured on.
func WriteSynthetic(ctx context.Context, path string, shape fixtures.Shape) error {
	m, err := synthetic(shape, "F16")
	if err != nil {
		return err
	}
	return gguf.WriteFile(ctx, path, m)
}
