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

// example is the positions from from to to, after the tokens of lead, which are only read,
// as is what the last of them predicts. ok is false if nothing is scored.
func (p positions) example(from, to int, lead ...int32) (ex Example, ok bool) {
	for to > from && p.targets[to-1] == Unscored {
		to--
	}
	if to == from {
		return Example{}, false
	}
	tokens, targets, weights := p.tokens[from:to], p.targets[from:to], p.weights[from:to]
	if n := len(lead); n > 0 {
		tokens = slices.Concat(lead, tokens)
		targets = slices.Concat(slices.Repeat([]int32{Unscored}, n), targets)
		weights = slices.Concat(make([]float32, n), weights)
	}
	return NewExample(tokens, targets, weights), true
}

// messageStarts says how messages begin: marks is whether a token is one that templates
// mark them with, system whether the first message is the system's.
type messageStarts struct {
	marks  func(id int32) bool
	system bool
}

// cutLeft keeps the last positions, at most seq with the BOS and the system's message that
// stay before them, if that has room in half of a sequence. Where what is kept has a
// message that begins as the first of the user does, before the last span that is scored,
// the cut is there, so that no answer stands without its question.
func (e Example) cutLeft(seq int, bos int32, starts messageStarts) (cut Example, ok bool) {
	last := e.Len()
	if n := len(e.Scored); n > 0 {
		last = int(e.Scored[n-1].From)
	}
	head, user := 0, 0
	if e.IDs[0] == bos {
		head, user = 1, 1
	}
	if starts.system && starts.marks(e.IDs[head]) {
		if i := slices.Index(e.IDs[head+1:max(last, head+1)], e.IDs[head]); i >= 0 {
			user = head + 1 + i
		}
		if user <= seq/2 {
			head = user
		}
	}
	at := e.Len() - (seq - head)
	if starts.marks(e.IDs[user]) {
		for i := at; i < last; i++ {
			if slices.Equal(e.IDs[i:i+2], e.IDs[user:user+2]) { // the marker and, with most templates, the role
				at = i
				break
			}
		}
	}
	return e.positions().example(at, e.Len(), e.IDs[:head]...)
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
		var lead []int32
		if at > 0 && bos >= 0 {
			lead = []int32{bos}
		}
		end := min(at+seq-len(lead), e.Len())
		if w, ok := p.example(at, end, lead...); ok {
			windows = append(windows, w)
		}
		at = end
	}
	return windows
}
