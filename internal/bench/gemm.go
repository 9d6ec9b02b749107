package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"qtool/gguf"
	"qtool/internal/kernel/product"
	"qtool/internal/kernel/simd"
	"qtool/quantize"
)

// GEMMOptions choose the products of [GEMM].
type GEMMOptions struct {
	Tokens    int
	Threads   int      // 0 is all
	Types     []string // nil is those that matter most
	Shapes    [][2]int // rows and columns of the weight; nil is two of a 0.5B model
	Precision string   // as in loop.Config
	Each      time.Duration
}

// GEMMResult is what [GEMM] measured. Peak is the highest of the run, in GFLOP/s.
type GEMMResult struct {
	CPU       string    `json:"cpu"`
	Tier      string    `json:"tier"`
	Precision string    `json:"precision"`
	Threads   int       `json:"threads"`
	Peak      float64   `json:"peak_gflops"`
	Bandwidth float64   `json:"bandwidth_gb_per_second"`
	Results   []Product `json:"results"`
}

// Product is one product over a weight: C [m,n] = A [m,k] · B [k,n], in GFLOP/s. Fraction is against
// the peak that was measured beside it, which is its own: a clock changes, and the host of a
// virtual machine may move its processors.
type Product struct {
	Type      string  `json:"type"`
	Direction string  `json:"direction"`
	M         int     `json:"m"`
	N         int     `json:"n"`
	K         int     `json:"k"`
	GFLOPS    float64 `json:"gflops"`
	Peak      float64 `json:"peak_gflops"`
	Fraction  float64 `json:"fraction_of_peak"`
}

// GEMM measures the multiplier's peak and the products over weights of several
// types in both directions. progress, unless nil, is told how many are done.
func GEMM(ctx context.Context, opt GEMMOptions, progress func(done, total int)) (*GEMMResult, error) {
	if opt.Types == nil {
		opt.Types = []string{"F32", "F16", "BF16", "Q4_0", "Q8_0", "Q4_K", "Q5_K", "Q6_K"}
	}
	if opt.Shapes == nil {
		opt.Shapes = [][2]int{{4864, 896}, {896, 4864}, {4096, 4096}}
	}
	pool := product.NewPool(opt.Threads)
	defer pool.Close()
	if opt.Precision == "auto" {
		pool.SetPrecision(product.Auto)
	}
	r := &GEMMResult{CPU: cpuName(), Tier: simd.Active().String(), Precision: pool.Precision(), Threads: pool.Workers()}
	return r, pool.Within(ctx, func() error { return r.measure(pool, opt, progress) })
}

func (r *GEMMResult) measure(pool *product.Pool, opt GEMMOptions, progress func(done, total int)) error {
	before := product.MeasurePeak(pool, opt.Each)
	r.Peak = before
	r.Bandwidth = product.MeasureBandwidth(pool, opt.Each)
	total := len(opt.Types) * len(opt.Shapes) * 2
	for _, name := range opt.Types {
		for _, shape := range opt.Shapes {
			if t, err := gguf.ParseType(name); err == nil && shape[1]%t.BlockElements() != 0 {
				total -= 2 // such rows cannot be stored in this type
				continue
			}
			w, err := randomMatrix(name, shape[0], shape[1])
			if err != nil {
				return err
			}
			for _, d := range []product.Direction{product.DirectionForward, product.DirectionBackward} {
				p := Product{Type: name, Direction: string(d), M: opt.Tokens, N: w.Rows, K: w.Cols}
				if d == product.DirectionBackward {
					p.N, p.K = p.K, p.N
				}
				p.GFLOPS = product.MeasureProduct(pool, d, opt.Tokens, w, opt.Each)
				after := product.MeasurePeak(pool, opt.Each/4)
				p.Peak = max(before, after)
				p.Fraction = p.GFLOPS / p.Peak
				before, r.Peak = after, max(r.Peak, after)
				r.Results = append(r.Results, p)
				if progress != nil {
					progress(len(r.Results), total)
				}
			}
		}
	}
	return nil
}

// randomMatrix is a weight of the given type, as a model's would be stored.
func randomMatrix(typeName string, rows, cols int) (product.Matrix, error) {
	t, err := gguf.ParseType(typeName)
	if err != nil {
		return product.Matrix{}, fmt.Errorf("%w: %w", quantize.ErrUnsupported, err)
	}
	codec, err := quantize.LookupEncoder(t)
	if err != nil {
		return product.Matrix{}, err
	}
	stride, err := t.RowSize(cols)
	if err != nil {
		return product.Matrix{}, err
	}
	rng := rand.New(rand.NewPCG(5, 6))
	row := make([]float32, cols)
	for i := range row {
		row[i] = float32(rng.NormFloat64() / 30)
	}
	data := make([]byte, int(stride)*rows)
	codec.EncodeRow(data[:stride], row, nil)
	for r := 1; r < rows; r++ {
		copy(data[r*int(stride):], data[:stride])
	}
	if v, ok := product.Float32View(data); ok && t == gguf.F32 {
		return product.Float32Matrix(v, rows, cols), nil
	}
	return product.EncodedMatrix(data, rows, cols, int(stride), codec.DecodeRow).OfType(t), nil
}
