package infer

import (
	"context"
	"fmt"
	"math"
	"slices"

	"qtool/internal/model"
	"qtool/internal/nn"
)

// PerplexityOptions choose the windows of [Session.Perplexity] and [Session.Compare].
type PerplexityOptions struct {
	Context int // tokens of a window; 0 is 512 or the model's own if that is less
	Chunks  int // windows at most; 0 is all
	// Progress, if not nil, is called before the first window and after each, with
	// the result so far and the number of windows there will be.
	Progress func(sofar Perplexity, total int)
}

// Perplexity is how well a model predicts a text.
type Perplexity struct {
	Value  float64 // exp(NLL)
	Error  float64 // standard error of Value
	NLL    float64 // mean negative log likelihood, nats per token
	Scored int     // tokens that were predicted

	Context int // tokens of a window
	Chunks  int // windows that were read
}

// Perplexity scores tokens, a whole text with BOS if the model adds one, by the
// method of llama-perplexity: the text is cut into windows of n tokens, each
// beginning with BOS in place of its first token (if the model adds BOS); of
// each window, positions n/2 to n-2 predict the token that follows them. What is left at the
// end is not read. The text must have at least two windows.
func (s *Session) Perplexity(ctx context.Context, tokens []int32, opt PerplexityOptions) (Perplexity, error) {
	var sum sums
	var result Perplexity
	cache := s.Decoder.NewCache(windowSize(opt.Context, s.Decoder.Context))
	err := eachWindow([]*Session{s}, tokens, opt, func(n, done int) Perplexity {
		result = sum.perplexity(n, done)
		return result
	}, func(text []int32) error { return s.scoreWindow(ctx, text, cache, &sum) })
	return result, err
}

// eachWindow calls use with the text of each window that all sessions are to read.
// sofar is the result after some windows of n tokens.
func eachWindow(sessions []*Session, tokens []int32, opt PerplexityOptions, sofar func(n, done int) Perplexity, use func(text []int32) error) error {
	var models []*model.Decoder
	for _, s := range sessions {
		models = append(models, s.Decoder)
	}
	n, err := Window(len(tokens), opt, models...)
	if err != nil {
		return err
	}
	for _, s := range sessions {
		if err := s.Decoder.CheckTokens(tokens); err != nil {
			return err
		}
	}
	chunks := len(tokens) / n
	if opt.Chunks > 0 {
		chunks = min(chunks, opt.Chunks)
	}
	for c := 0; ; c++ {
		if result := sofar(n, c); opt.Progress != nil {
			opt.Progress(result, chunks)
		}
		if c == chunks {
			return nil
		}
		if err := use(tokens[c*n : (c+1)*n]); err != nil {
			return err
		}
	}
}

// Window is the number of tokens of the windows that all models are to read of a text. It
// refuses a text of too few tokens, and windows that one of them cannot read.
func Window(tokens int, opt PerplexityOptions, models ...*model.Decoder) (n int, err error) {
	longest := math.MaxInt
	for _, d := range models {
		longest = min(longest, d.Context)
	}
	n = windowSize(opt.Context, longest)
	for _, d := range models {
		if err := checkWindows(tokens, n, d.Context); err != nil {
			return 0, err
		}
	}
	return n, nil
}

// windowSize is the number of tokens of a window or chunk, for a model of that context,
// where n were asked for; 0 leaves the choice.
func windowSize(n, context int) int {
	if n == 0 {
		return min(512, context)
	}
	return n
}

// CheckPerplexity refuses, before a model of that context is loaded, a text of too few
// tokens for [Session.Perplexity] or a window that the model cannot read.
func CheckPerplexity(tokens, context int, opt PerplexityOptions) error {
	return checkWindows(tokens, windowSize(opt.Context, context), context)
}

func checkWindows(tokens, n, context int) error {
	if err := checkContext("a window", n, context); err != nil {
		return err
	}
	if tokens < 2*n {
		return fmt.Errorf("%w: it has %d tokens; windows of %d need at least %d: give more text or a smaller context", ErrTextTooShort, tokens, n, 2*n)
	}
	return nil
}

// addedBOS is the token that begins every text, -1 if the model adds none.
func (s *Session) addedBOS() int32 {
	if s.Tokenizer == nil || !s.Tokenizer.Vocab().AddBOS {
		return -1
	}
	return s.Tokenizer.BOS()
}

// window is the input for a window of text: all but its last token, the first replaced
// by BOS if the model adds that.
func (s *Session) window(text []int32) []int32 {
	w := slices.Clone(text[:len(text)-1])
	if bos := s.addedBOS(); bos >= 0 {
		w[0] = bos
	}
	return w
}

// scoreWindow scores the second half of a window of text.
func (s *Session) scoreWindow(ctx context.Context, text []int32, cache *model.Cache, sum *sums) error {
	from := len(text) / 2
	cache.Reset()
	return s.forward(ctx, s.window(text), cache, func(first int, hidden *nn.Var) error {
		return s.head(hidden, max(0, from-first), func(row int, logits []float32) error {
			nll := negativeLogLikelihood(logits, text[first+row+1])
			if math.IsNaN(nll) {
				return errNotFinite
			}
			sum.add(nll)
			return nil
		})
	})
}

// sums adds up values, of negative log likelihoods and the like, and their squares.
type sums struct {
	sum, squares float64
	count        int
}

func (s *sums) add(value float64) {
	s.sum += value
	s.squares += value * value
	s.count++
}

func (s *sums) perplexity(context, chunks int) Perplexity {
	p := Perplexity{Scored: s.count, Context: context, Chunks: chunks}
	if s.count == 0 {
		return p
	}
	mean := s.mean()
	p.NLL = mean.Value
	p.Value = math.Exp(mean.Value)
	p.Error = mean.Error * p.Value
	return p
}

// mean is the mean of what was added, at least one value.
func (s *sums) mean() (e Estimate) {
	n := float64(s.count)
	e.Value = s.sum / n
	if variance := s.squares/n - e.Value*e.Value; variance > 0 && s.count > 1 {
		e.Error = math.Sqrt(variance / (n - 1))
	}
	return e
}

// negativeLogLikelihood is -log softmax(logits)[target].
func negativeLogLikelihood(logits []float32, target int32) float64 {
	return logSumExp(logits) - float64(logits[target])
}

// logSumExp is log Σ exp(logits).
func logSumExp(logits []float32) float64 {
	largest := float64(maxOf(logits))
	sum := 0.0
	for _, l := range logits {
		sum += math.Exp(float64(l) - largest)
	}
	return math.Log(sum) + largest
}

func maxOf(v []float32) float32 {
	m := v[0]
	for _, x := range v {
		m = max(m, x)
	}
	return m
}
