package infer

import (
	"context"
	"fmt"
	"math"
	"slices"

	"qtool/internal/model"
	"qtool/internal/nn"
)

// Divergence is how far a model's predictions are from those of a baseline, over the
// tokens that [Session.Perplexity] scores. The definitions are llama-perplexity's, but
// for rounding: that compares with a file of 16-bit log probabilities and leaves out
// tokens of the baseline below exp(-16).
type Divergence struct {
	Model    Perplexity
	Baseline Perplexity

	LogRatio    Estimate // ln of the ratio of both perplexities
	Ratio       Estimate
	Difference  Estimate // of both perplexities
	Correlation float64  // of both models' log probabilities of the right token

	KL      Distribution // Σ p_base · ln(p_base/p) over the vocabulary, nats per token
	DeltaP  Distribution // p - p_base of the right token
	RMS     Estimate     // root mean square of DeltaP
	SameTop Estimate     // part of the tokens where both models hold the same for likeliest
}

// Estimate is a value with its standard error.
type Estimate struct {
	Value float64 `json:"value"`
	Error float64 `json:"standard_error"`
}

// Distribution describes many values.
type Distribution struct {
	Mean        Estimate     `json:"mean"`
	Percentiles []Percentile `json:"percentiles"` // from 100, the largest value, to 0, the least
}

// Percentile is the value that Percent of all values do not exceed, interpolated
// between neighbours.
type Percentile struct {
	Percent float64 `json:"percent"`
	Value   float64 `json:"value"`
}

var (
	percentilesOfKL     = []float64{100, 99.9, 99, 95, 90, 50, 10, 5, 1, 0.1, 0}
	percentilesOfDeltaP = []float64{100, 99.9, 99, 95, 90, 75, 50, 25, 10, 5, 1, 0.1, 0}
)

// Compare runs s and baseline side by side over the windows of [Session.Perplexity].
// Both must have the same vocabulary. tokens are the text as s reads it.
func (s *Session) Compare(ctx context.Context, baseline *Session, tokens []int32, opt PerplexityOptions) (Divergence, error) {
	if err := s.sameVocabulary(baseline); err != nil {
		return Divergence{}, err
	}
	longest := min(s.Decoder.Context, baseline.Decoder.Context)
	window := windowSize(opt.Context, longest)
	c := &comparison{model: s, baseline: baseline, cache: s.Decoder.NewCache(window), baseCache: baseline.Decoder.NewCache(window)}
	context, chunks := 0, 0
	err := eachWindow([]*Session{s, baseline}, tokens, opt, func(n, done int) Perplexity {
		context, chunks = n, done
		return c.ofModel.perplexity(n, done)
	}, func(text []int32) error { return c.scoreWindow(ctx, text) })
	if err != nil {
		return Divergence{}, err
	}
	return c.result(context, chunks), nil
}

func (s *Session) sameVocabulary(o *Session) error {
	if a, b := s.Decoder.Vocabulary, o.Decoder.Vocabulary; a != b {
		return fmt.Errorf("%w: the model predicts %d tokens and the baseline %d; only models of one vocabulary can be compared", model.ErrUnsupported, a, b)
	}
	if s.Tokenizer == nil || o.Tokenizer == nil {
		return nil
	}
	a, b := s.Tokenizer.Vocab().Tokens, o.Tokenizer.Vocab().Tokens
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Errorf("%w: token %d is %q in the model and %q in the baseline; only models of one vocabulary can be compared", model.ErrUnsupported, i, a[i], b[i])
		}
	}
	return nil
}

// comparison collects what two models say of the same tokens.
type comparison struct {
	model, baseline     *Session
	cache, baseCache    *model.Cache
	ofModel, ofBaseline sums
	ratio               sums // of the difference of both negative log likelihoods
	kl, deltaP          []float32
	sumKL, sumDeltaP    sums
	squares             sums // of deltaP
	same                int
}

func (c *comparison) scoreWindow(ctx context.Context, text []int32) error {
	window, baseWindow := c.model.window(text), c.baseline.window(text)
	c.cache.Reset()
	c.baseCache.Reset()
	return c.model.forward(ctx, window, c.cache, func(first int, hidden *nn.Var) error {
		chunk := baseWindow[first : first+hidden.Rows]
		return c.baseline.forward(ctx, chunk, c.baseCache, func(_ int, baseHidden *nn.Var) error {
			return c.scoreChunk(hidden, baseHidden, text[first:], max(0, len(text)/2-first))
		})
	})
}

// scoreChunk compares what both say after the tokens of a chunk, from one on; text
// begins with them.
func (c *comparison) scoreChunk(hidden, baseHidden *nn.Var, text []int32, from int) (err error) {
	for ; from < hidden.Rows && err == nil; from += headRows {
		to := min(from+headRows, hidden.Rows)
		c.model.logits(hidden, from, to, func(logits *nn.Var) {
			c.baseline.logits(baseHidden, from, to, func(baseLogits *nn.Var) {
				err = c.add(logits, baseLogits, text[from+1:to+1])
			})
		})
	}
	return err
}

// add compares rows of logits, in parallel, and adds them up in order.
func (c *comparison) add(logits, baseLogits *nn.Var, targets []int32) error {
	rows := make([]rowComparison, len(targets))
	c.model.tape.Pool.Run(len(rows), func(_, r int) {
		rows[r] = compareRows(logits.Row(r), baseLogits.Row(r), targets[r])
	})
	for _, r := range rows {
		if math.IsNaN(r.nll) || math.IsNaN(r.baseNLL) || math.IsNaN(r.kl) {
			return errNotFinite
		}
		delta := math.Exp(-r.nll) - math.Exp(-r.baseNLL)
		c.ofModel.add(r.nll)
		c.ofBaseline.add(r.baseNLL)
		c.ratio.add(r.nll - r.baseNLL)
		c.sumKL.add(r.kl)
		c.sumDeltaP.add(delta)
		c.squares.add(delta * delta)
		c.kl = append(c.kl, float32(r.kl))
		c.deltaP = append(c.deltaP, float32(delta))
		if r.same {
			c.same++
		}
	}
	return nil
}

// rowComparison is what two models say of one token.
type rowComparison struct {
	nll, baseNLL, kl float64
	same             bool
}

func compareRows(logits, baseLogits []float32, target int32) rowComparison {
	sum, baseSum := logSumExp(logits), logSumExp(baseLogits)
	kl, top, baseTop := 0.0, 0, 0
	for i, l := range baseLogits {
		logBase := float64(l) - baseSum
		kl += math.Exp(logBase) * (logBase - (float64(logits[i]) - sum))
		if l > baseLogits[baseTop] {
			baseTop = i
		}
		if logits[i] > logits[top] {
			top = i
		}
	}
	return rowComparison{sum - float64(logits[target]), baseSum - float64(baseLogits[target]), kl, top == baseTop}
}

func (c *comparison) result(context, chunks int) Divergence {
	d := Divergence{
		Model: c.ofModel.perplexity(context, chunks), Baseline: c.ofBaseline.perplexity(context, chunks),
		LogRatio: c.ratio.mean(), RMS: c.squares.mean(),
		KL:     distribution(c.kl, c.sumKL.mean(), percentilesOfKL),
		DeltaP: distribution(c.deltaP, c.sumDeltaP.mean(), percentilesOfDeltaP),
	}
	d.Ratio.Value = math.Exp(d.LogRatio.Value)
	d.Ratio.Error = d.Ratio.Value * d.LogRatio.Error
	a, b := c.ofModel.mean().Error, c.ofBaseline.mean().Error
	covariance := (a*a + b*b - d.LogRatio.Error*d.LogRatio.Error) / 2
	if a > 0 && b > 0 {
		d.Correlation = covariance / (a * b)
	}
	p, q := d.Model, d.Baseline
	d.Difference.Value = p.Value - q.Value
	d.Difference.Error = math.Sqrt(max(0, p.Error*p.Error+q.Error*q.Error-2*p.Value*q.Value*covariance))
	if d.RMS.Value = math.Sqrt(d.RMS.Value); d.RMS.Value > 0 {
		d.RMS.Error *= 0.5 / d.RMS.Value
	}
	n := float64(c.ofModel.count)
	d.SameTop.Value = float64(c.same) / n
	d.SameTop.Error = math.Sqrt(d.SameTop.Value * (1 - d.SameTop.Value) / max(1, n-1))
	return d
}

// distribution describes values, which it sorts.
func distribution(values []float32, mean Estimate, percents []float64) Distribution {
	slices.Sort(values)
	d := Distribution{Mean: mean}
	for _, p := range percents {
		d.Percentiles = append(d.Percentiles, Percentile{p, quantile(values, p/100)})
	}
	return d
}

// quantile interpolates between sorted values.
func quantile(sorted []float32, part float64) float64 {
	at := part * float64(len(sorted)-1)
	low := int(at)
	high := min(low+1, len(sorted)-1)
	at -= float64(low)
	return (1-at)*float64(sorted[low]) + at*float64(sorted[high])
}
