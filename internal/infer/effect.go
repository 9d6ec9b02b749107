package infer

import (
	"context"
	"errors"
	"slices"

	"qtool/internal/kernel/vector"
	"qtool/internal/nn"
)

// ErrChangeNotFinite is in the chain of the error of [Session.Effect] about a change that makes the
// model compute infinities or NaN.
var ErrChangeNotFinite = errors.New("the changed model computes logits that are not finite")

// Effect is how much a change of a model changes its logits l, of every position of a text.
type Effect struct {
	Tokens  int
	NMSE    float64 // Σ(l'−l)²/Σl² over all logits
	KL      float64 // mean over positions of Σ p·ln(p/p') over the vocabulary, nats
	MostKL  float64 // of the position where it is largest
	Top     int     // positions where another token is the likeliest
	Largest float64 // max |l'−l|
}

// Effect compares the logits for tokens before and after a change of the model. changed is
// called to make the change and to take it back, several times, and leaves the model unchanged.
// progress, unless nil, gets how many of all tokens were computed, with and without it.
func (s *Session) Effect(ctx context.Context, tokens []int32, changed func(bool), progress func(done, total int)) (e Effect, err error) {
	if err := s.check(tokens); err != nil {
		return e, err
	}
	defer changed(false)
	changed(false)
	report := func(done int) {
		if progress != nil {
			progress(done, 2*len(tokens))
		}
	}
	report(0)
	var before []float32
	columns := 0
	err = s.forward(ctx, tokens, s.Decoder.NewCache(len(tokens)), func(first int, hidden *nn.Var) error {
		before, columns = append(before, hidden.Data...), hidden.Cols
		report(first + hidden.Rows)
		return nil
	})
	if err != nil {
		return e, err
	}
	e.Tokens = len(tokens)
	var squares, all float64
	changed(true)
	err = s.forward(ctx, tokens, s.Decoder.NewCache(len(tokens)), func(first int, hidden *nn.Var) (err error) {
		old := nn.Constant(before[first*columns:][:hidden.Rows*columns], hidden.Rows, columns)
		for from := 0; from < hidden.Rows && err == nil; from += headRows {
			to := min(from+headRows, hidden.Rows)
			changed(false)
			s.logits(old, from, to, func(base *nn.Var) {
				changed(true)
				s.logits(hidden, from, to, func(logits *nn.Var) {
					err = e.add(logits, base, &squares, &all)
				})
			})
		}
		report(len(tokens) + first + hidden.Rows)
		return err
	})
	if all > 0 {
		e.NMSE = squares / all
	}
	e.KL /= float64(len(tokens))
	return e, err
}

// add compares rows of logits.
func (e *Effect) add(logits, base *nn.Var, squares, all *float64) error {
	if vector.FirstNotFinite(base.Data) >= 0 {
		return errNotFinite
	}
	if vector.FirstNotFinite(logits.Data) >= 0 {
		return ErrChangeNotFinite
	}
	for i, v := range base.Data {
		d := float64(logits.Data[i]) - float64(v)
		*squares, *all = *squares+d*d, *all+float64(v)*float64(v)
		e.Largest = max(e.Largest, d, -d)
	}
	for r := range base.Rows {
		if slices.Equal(logits.Row(r), base.Row(r)) {
			continue // rounding would make a divergence of it
		}
		c := compareRows(logits.Row(r), base.Row(r), 0)
		c.kl = max(0, c.kl)
		e.KL += c.kl
		e.MostKL = max(e.MostKL, c.kl)
		if !c.same {
			e.Top++
		}
	}
	return nil
}

// EffectMemory is that of [Session.Effect] on so many tokens; most is as for
// [Session.GenerateMemory].
func (s *Session) EffectMemory(tokens int, most int64) Memory {
	m := s.rehearse(most, lastChunk(max(tokens, 1), true))
	m.Results = 4*int64(tokens)*int64(s.Decoder.Embedding) + 2*4*headRows*int64(s.Decoder.Vocabulary)
	return m
}
