package train

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"qtool/internal/arch"
	"qtool/internal/dataset"
	"qtool/internal/model"
	"qtool/internal/printable"
)

// checkHead warns of tokens that are to be learned and that the head, if it is not trained,
// cannot set apart: a model that is to end its answers with one never stops.
func (f *tuning) checkHead(ctx context.Context) error {
	counts := scoredTokens(f.rows)
	tokens := make([]int32, 0, len(counts))
	for token := range counts {
		tokens = append(tokens, token)
	}
	slices.SortFunc(tokens, func(a, b int32) int { // what ends answers first, then what is frequent
		return cmp.Or(cmp.Compare(counts[b].ends, counts[a].ends), cmp.Compare(counts[b].scored, counts[a].scored), cmp.Compare(a, b))
	})
	alike, err := f.decoder.LikeRows(ctx, f.pool, tokens)
	if err != nil || len(alike) == 0 {
		return err
	}
	const shown = 3
	var named []string
	for _, l := range alike[:min(shown, len(alike))] {
		named = append(named, f.describeLike(l, counts[l.Token]))
	}
	if more := len(alike) - shown; more > 0 {
		named = append(named, "and "+printable.Count(more, "more token"))
	}
	text := "this run cannot teach the model to say " + strings.Join(named, "; ") + ". "
	if counts[alike[0].Token].ends > 0 {
		text += "The model will not stop where it should; "
	}
	f.warn("%s%s", text, f.wayToHead())
	return nil
}

// tokenCount is how often a token is to be learned, and how often as the last of an example.
type tokenCount struct{ scored, ends int }

func scoredTokens(rows []dataset.Row) map[int32]tokenCount {
	counts := map[int32]tokenCount{}
	var targets []int32
	for i := range rows {
		for d := range rows[i].Docs {
			targets = rows[i].Docs[d].AppendTargets(targets[:0])
			for at, token := range targets {
				if token == dataset.Unscored {
					continue
				}
				c := counts[token]
				c.scored++
				if at == len(targets)-1 {
					c.ends++
				}
				counts[token] = c
			}
		}
	}
	return counts
}

// describeLike says what is wrong with the head's row of a token.
func (f *tuning) describeLike(l model.LikeRow, c tokenCount) string {
	text := fmt.Sprintf("%s, which is learned %s", f.tokenText(l.Token), printable.Count(c.scored, "time"))
	if c.ends > 0 {
		text += fmt.Sprintf(" and ends %s", printable.Count(c.ends, "example"))
	}
	text += ": its row of the output head "
	if l.Zero {
		text += "is zero"
		if l.Like == 0 {
			return text
		}
		text += " and "
	}
	text += "is as good as equal to that of " + f.tokenText(l.Other)
	if more := l.Like - 1; more > 0 {
		text += " and of " + printable.Count(more, "more token")
	}
	return text
}

// tokenText is a token as a user knows it.
func (f *tuning) tokenText(token int32) string {
	if f.tok == nil || int(token) >= len(f.tok.Vocab().Tokens) {
		return fmt.Sprintf("token %d", token)
	}
	return fmt.Sprintf("%s (token %d)", printable.Quote(f.tok.Vocab().Tokens[token]), token)
}

// wayToHead says how the head is trained too.
func (f *tuning) wayToHead() string {
	output := arch.ShortName(arch.Output)
	if f.decoder.NoTarget(output) != "" {
		return "LoRA cannot change that, as this base uses its embedding as the output head too: --full trains it, or let answers end with a token that the base knows"
	}
	targets := f.Targets
	if len(targets) == 0 {
		targets = []string{"all"}
	}
	flags := "--targets " + strings.Join(append(slices.Clip(targets), output), ",")
	for _, t := range f.decoder.Targets() {
		if t.Tensor == arch.Output && t.Refused != "" {
			flags += " --merge-only"
		}
	}
	if f.Init != "" {
		return fmt.Sprintf("a new adapter with %s, in place of --init-adapter, learns it", flags)
	}
	return flags + " trains the head too"
}
