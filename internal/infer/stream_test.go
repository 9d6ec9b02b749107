package infer

import (
	"math/rand/v2"
	"strings"
	"testing"
)

func TestStreamShowsAllBeforeTheFirstStopTextHoweverItArrives(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	word := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = "ab"[rng.IntN(2)]
		}
		return string(b)
	}
	for range 2000 {
		text, stops := word(rng.IntN(20)), []string{word(1 + rng.IntN(4)), word(1 + rng.IntN(4))}
		emitted := ""
		s := stream{stop: stops, emit: func(piece string) { emitted += piece }}
		// Text is written in pieces; the first piece that completes a stop text
		// decides, so the end of the shown text is known piece by piece.
		want, stopped := "", false
		for rest := text; rest != "" && !stopped; {
			n := 1 + rng.IntN(min(3, len(rest)))
			want, rest = want+rest[:n], rest[n:]
			cut := len(want)
			for _, stop := range stops {
				if i := strings.Index(want, stop); i >= 0 {
					cut = min(cut, i)
				}
			}
			got := s.write(want[len(want)-n:])
			stopped = cut < len(want)
			want = want[:cut]
			if got != stopped {
				t.Fatalf("%q with stops %q: stopped %v, want %v", text, stops, got, stopped)
			}
			if !strings.HasPrefix(want, emitted) {
				t.Fatalf("%q with stops %q: %q was shown too early", text, stops, emitted)
			}
		}
		if !stopped {
			s.flush()
		}
		if emitted != want || s.shown.String() != want {
			t.Fatalf("%q with stops %q: showed %q, want %q", text, stops, emitted, want)
		}
	}
}
