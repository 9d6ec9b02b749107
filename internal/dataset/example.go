package dataset

import "slices"

// Unscored is the target of a position whose prediction does not count.
const Unscored = -100

// Example is one document to train on: n positions, each with a token and a target,
// the token that should follow it. What would follow the last scored position
// cannot change the loss, so it is left out: a document of n scored tokens is
// an example of n-1 positions, and the last target is always scored. An example takes
// little more memory than its tokens.
type Example struct {
	// IDs are the tokens of the n positions and, last, the one that follows them.
	IDs []int32
	// Scored are the positions that count, ascending and apart; nil is all, with weight 1.
	Scored []Span
	// Labels are the targets of the n positions where they are not the tokens that
	// follow; else nil.
	Labels []int32
	// Repeat is how often an epoch sees it, see [Repeated]; 0 is once.
	Repeat float32
	// Record is the record of the data that the example is of, counted from 1, where that
	// record made several; else 0. What is held out is drawn among records.
	Record int32
}

// Span is positions From to To-1, whose losses count Weight times; Weight is positive.
type Span struct {
	From, To int32
	Weight   float32
}

// NewExample makes an example of tokens and targets, of the same length of at
// least 1; the last target must be scored. weights are those of the targets, nil
// for 1 everywhere. It keeps none of them.
func NewExample(tokens, targets []int32, weights []float32) Example {
	n := len(tokens)
	e := Example{IDs: append(slices.Clone(tokens), targets[n-1])}
	follows := true
	for i, t := range targets {
		weight := float32(1)
		if weights != nil {
			weight = weights[i]
		}
		switch last := len(e.Scored) - 1; {
		case t == Unscored:
			continue
		case last >= 0 && int(e.Scored[last].To) == i && e.Scored[last].Weight == weight:
			e.Scored[last].To++
		default:
			e.Scored = append(e.Scored, Span{int32(i), int32(i) + 1, weight})
		}
		follows = follows && t == e.IDs[i+1]
	}
	if len(e.Scored) == 1 && e.Scored[0] == (Span{0, int32(n), 1}) {
		e.Scored = nil
	}
	if !follows {
		e.Labels = slices.Clone(targets)
	}
	return e
}

// Len is the number of positions.
func (e *Example) Len() int { return len(e.IDs) - 1 }

// Tokens are the tokens of the positions.
func (e *Example) Tokens() []int32 { return e.IDs[:e.Len()] }

// AppendTargets appends the targets of the positions, [Unscored] where they do not count.
func (e *Example) AppendTargets(dst []int32) []int32 {
	targets := e.IDs[1:]
	if e.Labels != nil {
		targets = e.Labels
	}
	if e.Scored == nil {
		return append(dst, targets...)
	}
	first := len(dst)
	for range targets {
		dst = append(dst, Unscored)
	}
	for _, s := range e.Scored {
		copy(dst[first+int(s.From):], targets[s.From:s.To])
	}
	return dst
}

// Weighted is whether some position counts more or less than another.
func (e *Example) Weighted() bool {
	return slices.ContainsFunc(e.Scored, func(s Span) bool { return s.Weight != 1 })
}

// AppendWeights appends what the loss at each position is multiplied with, 0 where it
// does not count.
func (e *Example) AppendWeights(dst []float32) []float32 {
	n := len(dst)
	dst = append(dst, make([]float32, e.Len())...)
	weights := dst[n:]
	if e.Scored == nil {
		for i := range weights {
			weights[i] = 1
		}
	}
	for _, s := range e.Scored {
		for i := s.From; i < s.To; i++ {
			weights[i] = s.Weight
		}
	}
	return dst
}

// CountScored is the number of positions that count.
func (e *Example) CountScored() int {
	if e.Scored == nil {
		return e.Len()
	}
	n := 0
	for _, s := range e.Scored {
		n += int(s.To - s.From)
	}
	return n
}
