package dataset

// Unscored is the target of a position whose prediction does not count.
const Unscored = -100

// Example is one document to train on. Targets[i] is the token that should
// follow Tokens[i], or [Unscored]: the shift between input and label is already
// done. Both have the same length, at least 1, and the last target is scored:
// what would follow the last scored position cannot change the loss, so it is
// left out (a document of n scored tokens is an example of n-1 positions).
type Example struct {
	Tokens  []int32
	Targets []int32
}

// Scored is the number of positions that count.
func (e Example) Scored() int {
	n := 0
	for _, t := range e.Targets {
		if t != Unscored {
			n++
		}
	}
	return n
}

// document is a tokenized record as Hugging Face aligns it: labels[i] is ids[i]
// where token i must be predicted, else Unscored.
type document struct {
	ids    []int32
	labels []int32
}

// put appends tokens of which all are scored or none.
func (d *document) put(scored bool, ids ...int32) {
	for _, id := range ids {
		label := id
		if !scored {
			label = Unscored
		}
		d.ids = append(d.ids, id)
		d.labels = append(d.labels, label)
	}
}

// example shifts the labels; ok is false if nothing is scored. The first label
// has no position to be predicted from.
func (d document) example() (ex Example, ok bool) {
	n := len(d.labels) - 1
	for n > 0 && d.labels[n] == Unscored {
		n--
	}
	if n <= 0 {
		return Example{}, false
	}
	return Example{Tokens: d.ids[:n], Targets: d.labels[1 : n+1]}, true
}

// cut keeps the first seq positions; ok is false if none of them is scored.
func (e Example) cut(seq int) (cut Example, ok bool) {
	n := min(seq, len(e.Tokens))
	for n > 0 && e.Targets[n-1] == Unscored {
		n--
	}
	return Example{Tokens: e.Tokens[:n], Targets: e.Targets[:n]}, n > 0
}

// windows splits an example into pieces of at most seq positions. If bos is not
// negative, every piece after the first starts with it, as at inference; what
// follows it was scored at the end of the piece before, with more context, and
// so every target is scored exactly once:
//
//	tokens   BOS a b | BOS c d       seq = 3
//	targets   a  b c |  -  d e
func (e Example) windows(seq int, bos int32) []Example {
	var out []Example
	for at := 0; at < len(e.Tokens); {
		var w Example
		room := seq
		if at > 0 && bos >= 0 {
			w.Tokens = append(w.Tokens, bos)
			w.Targets = append(w.Targets, Unscored)
			room--
		}
		end := min(at+room, len(e.Tokens))
		w.Tokens = append(w.Tokens, e.Tokens[at:end]...)
		w.Targets = append(w.Targets, e.Targets[at:end]...)
		out = append(out, w)
		at = end
	}
	return out
}
