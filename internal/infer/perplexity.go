package infer

import (
	"context"
	"fmt"
	"math"

	"qtool/internal/nn"
)

// PerplexityOptions choose the windows of [Session.Perplexity].
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
	n := opt.Context
	if n == 0 {
		n = min(512, s.Decoder.Context)
	}
	chunks, err := s.windows(tokens, n)
	if err != nil {
		return Perplexity{}, err
	}
	if opt.Chunks > 0 {
		chunks = min(chunks, opt.Chunks)
	}
	bos, window := s.addedBOS(), make([]int32, n)
	var sum score
	for c := 0; ; c++ {
		result := sum.perplexity(n, c)
		if opt.Progress != nil {
			opt.Progress(result, chunks)
		}
		if c == chunks {
			return result, nil
		}
		text := tokens[c*n : (c+1)*n]
		copy(window, text)
		if bos >= 0 {
			window[0] = bos
		}
		if err := s.scoreWindow(ctx, window, text, &sum); err != nil {
			return result, err
		}
	}
}

// windows checks the request and counts the windows of n tokens.
func (s *Session) windows(tokens []int32, n int) (int, error) {
	switch {
	case n < 4:
		return 0, fmt.Errorf("a context of %d tokens is too short; expected at least 4", n)
	case n > s.Decoder.Context:
		return 0, fmt.Errorf("a context of %d tokens is more than the model's %d", n, s.Decoder.Context)
	case len(tokens) < 2*n:
		return 0, fmt.Errorf("the text has %d tokens; windows of %d need at least %d: give more text or a smaller context", len(tokens), n, 2*n)
	}
	return len(tokens) / n, s.Decoder.CheckTokens(tokens)
}

// addedBOS is the token that begins every text, -1 if the model adds none.
func (s *Session) addedBOS() int32 {
	if s.Tokenizer == nil || !s.Tokenizer.Vocab().AddBOS {
		return -1
	}
	return s.Tokenizer.BOS()
}

// scoreWindow runs window and scores its second half against the text's tokens.
func (s *Session) scoreWindow(ctx context.Context, window, text []int32, sum *score) error {
	from, end := len(window)/2, len(window)-1
	return s.forward(ctx, window[:end], s.Decoder.NewCache(), func(first int, hidden *nn.Var) error {
		return s.head(hidden, max(0, from-first), func(row int, logits []float32) error {
			return sum.add(logits, text[first+row+1])
		})
	})
}

// score sums negative log likelihoods and their squares.
type score struct {
	sum, squares float64
	count        int
}

func (s *score) add(logits []float32, target int32) error {
	nll := negativeLogLikelihood(logits, target)
	if math.IsNaN(nll) {
		return errNotFinite
	}
	s.sum += nll
	s.squares += nll * nll
	s.count++
	return nil
}

func (s *score) perplexity(context, chunks int) Perplexity {
	p := Perplexity{Scored: s.count, Context: context, Chunks: chunks}
	if s.count == 0 {
		return p
	}
	n := float64(s.count)
	p.NLL = s.sum / n
	p.Value = math.Exp(p.NLL)
	if variance := s.squares/n - p.NLL*p.NLL; variance > 0 && s.count > 1 {
		p.Error = math.Sqrt(variance/(n-1)) * p.Value
	}
	return p
}

// negativeLogLikelihood is -log softmax(logits)[target].
func negativeLogLikelihood(logits []float32, target int32) float64 {
	largest := float64(maxOf(logits))
	sum := 0.0
	for _, l := range logits {
		sum += math.Exp(float64(l) - largest)
	}
	return math.Log(sum) + largest - float64(logits[target])
}

func maxOf(v []float32) float32 {
	m := v[0]
	for _, x := range v {
		m = max(m, x)
	}
	return m
}
