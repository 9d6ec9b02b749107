package infer_test

import (
	"context"
	"errors"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"qtool/fixtures"
	"qtool/internal/infer"
	"qtool/internal/model"
	"qtool/quantize"
)

// quantized is what becomes of s's model as a file type.
func quantized(t *testing.T, s fixtures.Shape, fileType string) *infer.Session {
	t.Helper()
	plan, err := quantize.NewPlan(fixtures.TinyLlama(3, s), quantize.Options{FileType: fileType})
	if err != nil {
		t.Fatal(err)
	}
	return session(t, plan.Model())
}

// probabilities are the softmax rows of tokens.
func probabilities(t *testing.T, s *infer.Session, tokens []int32) (rows [][]float64) {
	t.Helper()
	err := s.Logits(context.Background(), tokens, func(row []float32) error {
		p, sum := make([]float64, len(row)), 0.0
		for i, l := range row {
			p[i] = math.Exp(float64(l))
			sum += p[i]
		}
		for i := range p {
			p[i] /= sum
		}
		rows = append(rows, p)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

func TestDivergenceFollowsItsDefinition(t *testing.T) {
	shape := tinyShape(t, 64)
	base, s, ids := quantized(t, shape, "F32"), quantized(t, shape, "Q4_0"), someTokens(70)
	const n = 16
	var kl, delta, squares, log, count, same float64
	for first := 0; first+n <= len(ids); first += n {
		window := append([]int32{s.Tokenizer.BOS()}, ids[first+1:first+n]...)
		p, q := probabilities(t, s, window), probabilities(t, base, window)
		for r := n / 2; r < n-1; r++ {
			target, top, baseTop := ids[first+r+1], 0, 0
			for i := range p[r] {
				kl += q[r][i] * math.Log(q[r][i]/p[r][i])
				if p[r][i] > p[r][top] {
					top = i
				}
				if q[r][i] > q[r][baseTop] {
					baseTop = i
				}
			}
			d := p[r][target] - q[r][target]
			delta, squares, count = delta+d, squares+d*d, count+1
			log += math.Log(q[r][target] / p[r][target])
			if top == baseTop {
				same++
			}
		}
	}
	got, err := s.Compare(context.Background(), base, ids, infer.PerplexityOptions{Context: n})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name      string
		got, want float64
	}{
		{"mean KL divergence", got.KL.Mean.Value, kl / count},
		{"mean Δp", got.DeltaP.Mean.Value, delta / count},
		{"RMS Δp", got.RMS.Value, math.Sqrt(squares / count)},
		{"ln(ratio)", got.LogRatio.Value, log / count},
		{"ratio", got.Ratio.Value, got.Model.Value / got.Baseline.Value},
		{"same top token", got.SameTop.Value, same / count},
		{"tokens", float64(got.Model.Scored), count},
	} {
		if math.Abs(c.got-c.want) > 1e-6*(1e-3+math.Abs(c.want)) {
			t.Errorf("%s: %g, want %g", c.name, c.got, c.want)
		}
	}
	if kl/count < 1e-4 || same == count {
		t.Errorf("the models are too alike to tell: KL divergence %g", kl/count)
	}
	for _, alone := range []struct {
		*infer.Session
		got infer.Perplexity
	}{{s, got.Model}, {base, got.Baseline}} {
		want, err := alone.Perplexity(context.Background(), ids, infer.PerplexityOptions{Context: n})
		if diff := cmp.Diff(alone.got, want); diff != "" || err != nil {
			t.Errorf("perplexity side by side and alone (-got +want), error %v:\n%s", err, diff)
		}
	}
	for i, p := range got.KL.Percentiles[1:] {
		if before := got.KL.Percentiles[i]; p.Percent >= before.Percent || p.Value > before.Value || p.Value < 0 {
			t.Errorf("percentile %v after %v", p, before)
		}
	}
}

func TestAModelDoesNotDivergeFromItself(t *testing.T) {
	shape := tinyShape(t, 64)
	d, err := quantized(t, shape, "Q8_0").Compare(context.Background(), quantized(t, shape, "Q8_0"), someTokens(600), infer.PerplexityOptions{})
	if err != nil {
		t.Fatal(err)
	}
	zero := infer.Estimate{}
	if d.KL.Mean != zero || d.KL.Percentiles[0].Value != 0 || d.RMS != zero || d.LogRatio != zero ||
		d.SameTop.Value != 1 || math.Abs(d.Correlation-1) > 1e-12 || d.Model != d.Baseline || d.Model.Context != 64 {
		t.Errorf("%+v", d)
	}
}

func TestModelsOfDifferentVocabulariesAreNotCompared(t *testing.T) {
	plain := session(t, fixtures.TinyLlama(3, fixtures.Shape{Vocabulary: fixtures.Vocabulary()}))
	_, err := tiny(t, 64).Compare(context.Background(), plain, someTokens(256), infer.PerplexityOptions{Context: 16})
	if !errors.Is(err, model.ErrUnsupported) {
		t.Errorf("error %v", err)
	}
}
