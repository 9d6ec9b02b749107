package tokenizer

import (
	"fmt"
	"slices"
	"time"

	"github.com/dlclark/regexp2"
)

// A cutter is one step of a folder's own pre_tokenizer: it cuts a piece of text
// as that step does. It is for the probe, not for speed.
type cutter struct {
	pattern  *regexp2.Regexp
	behavior string
	invert   bool
}

// Steps that are no Split, as patterns.
const (
	patternNumber = `\p{N}`
	patternPunct  = "[\\p{P}!-/:-@\\[-`{-~]"
)

const (
	maxSteps   = 64
	probeLimit = time.Second // for what takes a millisecond
)

var behaviors = []string{"Isolated", "Removed", "Contiguous", "MergedWithPrevious", "MergedWithNext"}

// errSlow is in the chain of errors about patterns that backtrack without end.
var errSlow = fmt.Errorf("%w: the pre-tokenizer takes more than %v for a few lines", ErrUnsupported, probeLimit)

// cuttersOf makes the steps of a pre_tokenizer ready to run.
func cuttersOf(steps []hfStep) (out []cutter, err error) {
	if len(steps) > maxSteps {
		return nil, fmt.Errorf("%w: a pre-tokenizer of %d steps; at most %d are tried", ErrUnsupported, len(steps), maxSteps)
	}
	for i := range steps {
		pattern, behavior, err := steps[i].cut()
		if err != nil {
			return nil, err
		}
		if pattern == "" {
			continue
		}
		re, err := compilePattern(pattern)
		if err != nil {
			return nil, err
		}
		out = append(out, cutter{re, behavior, steps[i].Invert})
	}
	return out, nil
}

// cut is the pattern that a step cuts at and how; "" if it does not cut.
func (s *hfStep) cut() (pattern, behavior string, err error) {
	switch s.Type {
	case "Split":
		if !slices.Contains(behaviors, s.Behavior) {
			return "", "", fmt.Errorf("%w: a pre-tokenizer that splits as %q", ErrUnsupported, s.Behavior)
		}
		if s.Pattern.Regex != nil {
			return *s.Pattern.Regex, s.Behavior, nil
		}
		if s.Pattern.String != nil {
			return regexp2.Escape(*s.Pattern.String), s.Behavior, nil
		}
	case "Digits":
		if s.IndividualDigits {
			return patternNumber, "Isolated", nil
		}
		return patternNumber, "Contiguous", nil
	case "Punctuation":
		if s.Behavior == "" {
			return patternPunct, "Isolated", nil
		}
		return patternPunct, s.Behavior, nil
	case "WhitespaceSplit":
		return `\s`, "Removed", nil
	case "ByteLevel":
		if s.AddPrefixSpace != nil && *s.AddPrefixSpace {
			return "", "", fmt.Errorf("%w: byte-level BPE that adds a space before the text", ErrUnsupported)
		}
		if s.UseRegex == nil || *s.UseRegex {
			return patternGPT2, "Isolated", nil
		}
		return "", "", nil
	}
	return "", "", fmt.Errorf("%w: the pre-tokenizer %q", ErrUnsupported, s.Type)
}

// runCutters applies the steps one after the other, each on every piece of the one
// before. It gives up at the deadline.
func runCutters(steps []cutter, text string, deadline time.Time) ([]string, error) {
	pieces := []string{text}
	for _, c := range steps {
		var next []string
		for _, p := range pieces {
			cut, err := c.run(p, deadline)
			if err != nil {
				return nil, err
			}
			next = append(next, cut...)
		}
		pieces = next
	}
	return pieces, nil
}

// stretch is a part of a text that the pattern matches, or one between matches.
type stretch struct {
	start, end int
	match      bool
}

// run cuts one piece.
func (c *cutter) run(piece string, deadline time.Time) ([]string, error) {
	text := []rune(piece)
	stretches, err := c.find(text, deadline)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, s := range c.join(stretches) {
		if s.end > s.start && !(s.match && c.behavior == "Removed") {
			out = append(out, string(text[s.start:s.end]))
		}
	}
	return out, nil
}

func (c *cutter) find(text []rune, deadline time.Time) (out []stretch, err error) {
	at := 0
	m, err := c.pattern.FindRunesMatch(text)
	for ; m != nil && err == nil; m, err = c.pattern.FindNextMatch(m) {
		if time.Now().After(deadline) {
			return nil, errSlow
		}
		if m.Index > at {
			out = append(out, stretch{at, m.Index, c.invert})
		}
		out = append(out, stretch{m.Index, m.Index + m.Length, !c.invert})
		at = m.Index + m.Length
	}
	if err != nil {
		return nil, errSlow // there is no other error
	}
	if at < len(text) {
		out = append(out, stretch{at, len(text), c.invert})
	}
	return out, nil
}

// join puts stretches together that the behaviour keeps together.
func (c *cutter) join(in []stretch) (out []stretch) {
	switch c.behavior {
	case "Contiguous":
		for _, s := range in {
			if n := len(out); n > 0 && out[n-1].match == s.match {
				out[n-1].end = s.end
			} else {
				out = append(out, s)
			}
		}
	case "MergedWithPrevious":
		after := false // whether the stretch before is a match
		for _, s := range in {
			if n := len(out); n > 0 && s.match && !after {
				out[n-1].end = s.end
			} else {
				out = append(out, s)
			}
			after = s.match
		}
	case "MergedWithNext":
		before := false
		for _, s := range slices.Backward(in) {
			if n := len(out); n > 0 && s.match && !before {
				out[n-1].start = s.start
			} else {
				out = append(out, s)
			}
			before = s.match
		}
		slices.Reverse(out)
	default:
		return in
	}
	return out
}
