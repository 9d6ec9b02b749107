package dataset

// document is the tokens of a record as they come; scored are those that must be
// predicted.
type document struct {
	ids    []int32
	scored []Span
}

// put appends tokens whose losses count weight times; with 0 they are only read.
func (d *document) put(weight float32, ids ...int32) {
	from := int32(len(d.ids))
	d.ids = append(d.ids, ids...)
	if weight == 0 || len(ids) == 0 {
		return
	}
	to := int32(len(d.ids))
	if last := len(d.scored) - 1; last >= 0 && d.scored[last].To == from && d.scored[last].Weight == weight {
		d.scored[last].To = to
		return
	}
	d.scored = append(d.scored, Span{from, to, weight})
}

// examples is the document as positions and targets, none if nothing is scored. The
// first token has no position to be predicted from.
func (d *document) examples() []Example {
	spans := make([]Span, 0, len(d.scored))
	for _, s := range d.scored {
		if s.From = max(s.From-1, 0); s.To-1 > s.From {
			spans = append(spans, Span{s.From, s.To - 1, s.Weight})
		}
	}
	if len(spans) == 0 {
		return nil
	}
	n := spans[len(spans)-1].To
	ex := Example{IDs: d.ids[: n+1 : n+1], Scored: spans}
	if spans[0] == (Span{0, n, 1}) {
		ex.Scored = nil
	}
	return []Example{ex}
}
