package train

import (
	"qtool/internal/dataset"
	"qtool/internal/kernel"
	"qtool/internal/model"
	"qtool/internal/nn"
)

// learner computes losses and gradients of a decoder.
type learner struct {
	decoder       *model.Decoder
	params        []*nn.Param
	tape          *nn.Tape
	checkpointing bool
}

func newLearner(d *model.Decoder, params []*nn.Param, pool *kernel.Pool, checkpointing bool) *learner {
	for _, p := range params {
		p.Train()
	}
	return &learner{decoder: d, params: params, tape: nn.NewTape(pool), checkpointing: checkpointing}
}

func (l *learner) clearGradients() {
	for _, p := range l.params {
		clear(p.Grad)
	}
}

// accumulate adds the gradients of weight times the summed loss of rows.
func (l *learner) accumulate(rows []dataset.Row, weight float32) (sum float64, scored int) {
	l.tape.Reset(true)
	sum, scored = l.forward(rows, weight)
	l.tape.Backward()
	return sum, scored
}

// loss is the summed loss of rows.
func (l *learner) loss(rows []dataset.Row) (sum float64, scored int) {
	l.tape.Reset(false)
	return l.forward(rows, 0)
}

func (l *learner) forward(rows []dataset.Row, weight float32) (sum float64, scored int) {
	all := join(rows)
	hidden := l.decoder.Hidden(l.tape, model.NewBatch(all.Tokens, all.Docs), nil, l.checkpointing)
	return l.decoder.Loss(l.tape, hidden, all.Targets, weight)
}

// join lays the documents of rows side by side: a batch needs no padding.
func join(rows []dataset.Row) dataset.Row {
	if len(rows) == 1 {
		return rows[0]
	}
	var all dataset.Row
	for _, r := range rows {
		for _, d := range r.Docs {
			all.Docs = append(all.Docs, len(all.Tokens)+d)
		}
		all.Tokens = append(all.Tokens, r.Tokens...)
		all.Targets = append(all.Targets, r.Targets...)
	}
	return all
}

func countScored(rows []dataset.Row) (scored, tokens int) {
	for _, r := range rows {
		tokens += len(r.Tokens)
		for _, t := range r.Targets {
			if t != dataset.Unscored {
				scored++
			}
		}
	}
	return scored, tokens
}
