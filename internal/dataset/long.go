package dataset

import (
	"fmt"
	"slices"
	"strings"
)

// Long is what becomes of examples that are longer than a sequence.
type Long int

const (
	LongSkip          Long = iota // left out, counted and named
	LongTruncateLeft              // cut at the beginning
	LongTruncateRight             // cut at the end, and with it perhaps the end of the answer
	LongSplit                     // cut into windows
	LongRefuse                    // an error, a [TooLongError]
)

var longNames = []string{"skip", "truncate-left", "truncate-right", "split", "refuse"}

func (l Long) String() string { return longNames[l] }

// ParseLong reads the name of a policy.
func ParseLong(s string) (Long, error) {
	if i := slices.Index(longNames, s); i >= 0 {
		return Long(i), nil
	}
	return 0, fmt.Errorf("%q is not a way to treat long records; expected one of %s", s, strings.Join(longNames, ", "))
}

// long is the policy for a record.
func (o *Options) long(isText bool) Long {
	switch {
	case isText && o.SplitText:
		return LongSplit
	case o.Truncate:
		return LongTruncateRight
	}
	return o.Long
}

// cut keeps the first seq positions; ok is false if none of them is scored.
func (e Example) cut(seq int) (cut Example, ok bool) {
	n := min(seq, e.Len())
	if e.Scored != nil {
		cut.Scored = []Span{}
		for _, s := range e.Scored {
			if int(s.From) < n {
				cut.Scored = append(cut.Scored, Span{s.From, min(s.To, int32(n)), s.Weight})
			}
		}
		if len(cut.Scored) == 0 {
			return Example{}, false
		}
		n = int(cut.Scored[len(cut.Scored)-1].To)
	}
	cut.IDs = e.IDs[: n+1 : n+1]
	if e.Labels != nil {
		cut.Labels = e.Labels[:n:n]
	}
	return cut, true
}

// positions are what an example is made of, one entry of each for every position.
type positions struct {
	tokens, targets []int32
	weights         []float32
}

func (e *Example) positions() positions {
	return positions{e.Tokens(), e.AppendTargets(nil), e.AppendWeights(nil)}
}

// example is the positions from from to to, after bos if that is not negative; what bos
// predicts is not scored. ok is false if nothing is.
func (p positions) example(from, to int, bos int32) (ex Example, ok bool) {
	for to > from && p.targets[to-1] == Unscored {
		to--
	}
	if to == from {
		return Example{}, false
	}
	tokens, targets, weights := p.tokens[from:to], p.targets[from:to], p.weights[from:to]
	if bos >= 0 {
		tokens, targets, weights = slices.Insert(slices.Clone(tokens), 0, bos), slices.Insert(slices.Clone(targets), 0, Unscored), slices.Insert(slices.Clone(weights), 0, 0)
	}
	return NewExample(tokens, targets, weights), true
}

// cutLeft keeps the last positions, at most seq with the BOS that is put before them. If
// some message of what is kept begins before the last span that is scored does, the cut is
// there: begins says of tokens whether a message may begin with them.
func (e Example) cutLeft(seq int, bos int32, begins func(int32) bool) (cut Example, ok bool) {
	if e.IDs[0] != bos {
		bos = -1
	}
	at := e.Len() - seq
	if bos >= 0 {
		at++
	}
	last := e.Len()
	if n := len(e.Scored); n > 0 {
		last = int(e.Scored[n-1].From)
	}
	if marker := e.firstMarker(bos, begins); marker >= 0 {
		for i := at; i < last; i++ {
			if e.IDs[i] == marker {
				at = i
				break
			}
		}
	}
	return e.positions().example(at, e.Len(), bos)
}

// firstMarker is the special token that the first message begins with, -1 if the example
// begins with none.
func (e Example) firstMarker(bos int32, begins func(int32) bool) int32 {
	first := 0
	if e.IDs[0] == bos {
		first = 1
	}
	if first < len(e.IDs) && begins(e.IDs[first]) {
		return e.IDs[first]
	}
	return -1
}

// split cuts the example into windows of at most seq positions, those of which something is
// scored. Windows after the first begin with bos, unless it is negative, and every target
// is scored once:
//
//	tokens   BOS a b | BOS c d       seq = 3
//	targets   a  b c |  -  d e
func (e Example) split(seq int, bos int32) (windows []Example) {
	p := e.positions()
	for at := 0; at < e.Len(); {
		end, lead := min(at+seq, e.Len()), int32(-1)
		if at > 0 && bos >= 0 {
			end, lead = min(at+seq-1, e.Len()), bos
		}
		if w, ok := p.example(at, end, lead); ok {
			windows = append(windows, w)
		}
		at = end
	}
	return windows
}
