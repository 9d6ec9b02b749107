package loop

import (
	"context"
	"fmt"
	"math"
	"testing"
	"time"

	"qtool/fixtures"
	"qtool/internal/adapt"
	"qtool/internal/dataset"
	"qtool/internal/kernel/product"
	"qtool/internal/model"
	"qtool/internal/nn"
)

// estimatorOf predicts steps on a tiny model from its shapes.
func estimatorOf(t *testing.T, family string, c Config, pool *product.Pool, seq int, full bool) *Estimator {
	t.Helper()
	d, err := model.Load(fixtures.TinyFamily(1, family), model.Options{Shapes: true, TrainWeights: full})
	if err != nil {
		t.Fatal(err)
	}
	return NewEstimator(c, d, pairsOn(t, d, full, true), pool, seq, 0, 0)
}

// pairsOn are the parameters of pairs on all targets of d, which are attached, or all
// its weights.
func pairsOn(t *testing.T, d *model.Decoder, full, shapes bool) []*nn.Param {
	t.Helper()
	if full {
		return d.Params()
	}
	a, err := adapt.New(d, adapt.Config{Rank: 3, Alpha: 3, Targets: []string{"*"}, MergeOnly: true, Shapes: shapes})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Attach(d); err != nil {
		t.Fatal(err)
	}
	return a.Params()
}

func TestAStepMultipliesAsOftenAsWasPredictedInEveryFamily(t *testing.T) {
	pool := product.NewPool(2)
	defer pool.Close()
	const seq = 100
	for _, family := range fixtures.Families() {
		for _, how := range []struct{ checkpointing, full bool }{{false, false}, {true, false}, {true, true}} {
			t.Run(fmt.Sprintf("%s %+v", family, how), func(t *testing.T) {
				c := DefaultConfig()
				c.Batch, c.Checkpointing = 2, how.checkpointing
				f := estimatorOf(t, family, c, pool, seq, how.full)

				d, err := model.Load(fixtures.TinyFamily(1, family), model.Options{TrainWeights: how.full})
				if err != nil {
					t.Fatal(err)
				}
				l := newLearner(d, pairsOn(t, d, how.full, false), pool, &Config{Checkpointing: how.checkpointing})
				l.tape.EvenRouting = true
				var rows []dataset.Row
				for i := range 2 {
					ids := make([]int32, seq+1)
					for k := range ids {
						ids[k] = int32((i + 3*k) % d.Vocabulary)
					}
					rows = append(rows, dataset.Row{Docs: []dataset.Example{{IDs: ids}}})
				}
				before := l.tape.Work()
				l.accumulate(rows, 1)
				after := l.tape.Work()
				if got := after.Products - before.Products; math.Abs(got-f.work.Products) > 1e-9*got {
					t.Errorf("%g multiplications with weights, predicted were %g", got, f.work.Products)
				}
				// Blocks in which keys are seen in part make it more, most so in short windows.
				got, windowed := after.Attention-before.Attention, d.Window > 0
				if ratio := got / f.work.Attention; ratio < 1 || !windowed && ratio > 1.4 {
					t.Errorf("%g multiplications in attention, predicted were %g", got, f.work.Attention)
				}
				if want := 2 * (f.work.Products + f.work.Attention) / (2 * seq); f.FLOPsPerToken != want {
					t.Errorf("%g FLOPs a token, counted were %g", f.FLOPsPerToken, want)
				}
			})
		}
	}
}

func TestTheTimeOfABatchIsToldFromOneBlock(t *testing.T) {
	pool := product.NewPool(1)
	defer pool.Close()
	for _, family := range []string{"llama", "longcat-flash", "gpt-oss"} {
		f := estimatorOf(t, family, DefaultConfig(), pool, 120, false)
		peak := f.FLOPsPerToken * 120 // a batch a second
		whole, err := f.Time(context.Background(), peak, 2*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		told, err := f.Time(context.Background(), peak, time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %.3g s, told from a block %.3g s", family, whole, told)
		if !(whole > 0 && told > 0) {
			t.Errorf("%s: %g s, told from a block %g s", family, whole, told)
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if _, err := f.Time(ctx, peak, 0); err == nil {
			t.Error("it does not stop")
		}
	}
}
