package loop

import (
	"qtool/internal/dataset"
	"qtool/internal/kernel/product"
	"qtool/internal/model"
	"qtool/internal/nn"
)

// learner computes losses and gradients of a decoder.
type learner struct {
	decoder       *model.Decoder
	tape          *nn.Tape
	checkpointing bool
	router        routerLosses

	// The batch at hand, in memory that is used again.
	batch  model.Batch
	joined dataset.Batch
}

func newLearner(d *model.Decoder, params []*nn.Param, pool *product.Pool, checkpointing bool) *learner {
	for _, p := range params {
		p.Train()
	}
	return &learner{decoder: d, tape: nn.NewTape(pool), checkpointing: checkpointing}
}

// accumulate adds the gradients of weight times the summed loss of rows.
func (l *learner) accumulate(rows []dataset.Row, weight float32) (sum float64, scored int) {
	l.tape.Reset(true)
	if !l.router.on() {
		sum, scored = l.forward(rows, weight)
		l.tape.Backward()
		return sum, scored
	}
	share := l.router.share(rows)
	l.router.beginBatch(l.tape, share)
	sum, scored = l.forward(rows, weight)
	l.tape.Backward() // with checkpointing, routers are passed here
	l.router.endBatch(l.tape, share)
	return sum, scored
}

// loss is the summed loss of rows.
func (l *learner) loss(rows []dataset.Row) (sum float64, scored int) {
	l.tape.Reset(false)
	return l.forward(rows, 0)
}

// set makes rows the batch at hand, which needs no padding.
func (l *learner) set(rows []dataset.Row) {
	l.joined.Set(rows...)
	l.batch.Set(l.joined.Tokens, l.joined.Docs)
}

func (l *learner) forward(rows []dataset.Row, weight float32) (sum float64, scored int) {
	l.set(rows)
	hidden := l.decoder.Hidden(l.tape, &l.batch, nil, l.checkpointing)
	return l.decoder.Loss(l.tape, hidden, l.joined.Targets, weight)
}

func countScored(rows []dataset.Row) (scored, tokens int) {
	for i := range rows {
		tokens += rows[i].Len()
		scored += rows[i].CountScored()
	}
	return scored, tokens
}
