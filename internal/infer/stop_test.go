package infer_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"qtool/fixtures"
	"qtool/internal/infer"
)

// A session that was stopped at any moment computes what a fresh one does.
func TestAStoppedSessionGivesTheSameBitsAfterwards(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	ids := someTokens(400)
	for name, change := range map[string]func(*fixtures.Shape){
		"dense":   func(*fixtures.Shape) {},
		"experts": func(s *fixtures.Shape) { s.Experts = 4 },
	} {
		shape := tinyShape(t, 256)
		change(&shape)
		fresh := func() *infer.Session { return session(t, fixtures.TinyLlama(3, shape)) }
		s, baseline := fresh(), fresh()
		for work, f := range map[string]func(ctx context.Context, s, baseline *infer.Session) (any, error){
			"perplexity": func(ctx context.Context, s, _ *infer.Session) (any, error) {
				return s.Perplexity(ctx, ids, infer.PerplexityOptions{Context: 128})
			},
			"comparison": func(ctx context.Context, s, baseline *infer.Session) (any, error) {
				return s.Compare(ctx, baseline, ids, infer.PerplexityOptions{Context: 128})
			},
			"generation": func(ctx context.Context, s, _ *infer.Session) (any, error) {
				g, err := s.Generate(ctx, ids[:100], infer.GenerateOptions{MaxTokens: 40, IgnoreEOS: true}, nil)
				return g.Tokens, err
			},
			"importance": func(ctx context.Context, s, _ *infer.Session) (any, error) {
				run, err := s.NewImportance(128)
				if err != nil {
					return nil, err
				}
				err = s.CollectImportance(ctx, ids, run, infer.ImportanceOptions{Output: true})
				return run, err
			},
		} {
			want, err := f(t.Context(), fresh(), fresh())
			if err != nil {
				t.Fatal(err)
			}
			begin := time.Now()
			if _, err := f(t.Context(), s, baseline); err != nil {
				t.Fatal(err)
			}
			longest, stops := time.Since(begin), 0
			for stops < 5 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rng.Int64N(int64(longest))))
				switch _, err := f(ctx, s, baseline); {
				case errors.Is(err, context.DeadlineExceeded):
					stops++
				case err == nil: // it was faster than when it was timed
					longest = longest*3/4 + 1
				default:
					t.Errorf("%s of %s: %v", work, name, err)
				}
				cancel()
				if got, err := f(t.Context(), s, baseline); err != nil || !reflect.DeepEqual(got, want) {
					t.Fatalf("%s of %s after a stop: %v, %v, not %v", work, name, got, err, want)
				}
			}
		}
	}
}
