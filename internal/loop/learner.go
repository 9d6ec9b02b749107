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
	smoothing     float32 // of the targets, in steps
	noise         noise   // on the embeddings, in steps

	// The batch at hand, in memory that is used again.
	batch  model.Batch
	joined dataset.Batch
}

func newLearner(d *model.Decoder, params []*nn.Param, pool *product.Pool, c *Config) *learner {
	for _, p := range params {
		p.Train()
	}
	return &learner{
		decoder: d, tape: nn.NewTape(pool), checkpointing: c.Checkpointing,
		router:    routerLosses{balance: c.RouterBalance, z: c.RouterZ},
		smoothing: float32(c.LabelSmoothing),
		noise:     noise{alpha: c.NEFTune, seed: c.Seed},
	}
}

// accumulate adds the gradients of scale times the summed loss of rows, and returns that
// sum and the weight of what it sums up.
func (l *learner) accumulate(rows []dataset.Row, scale float32) (sum, weight float64) {
	l.tape.Reset(true)
	l.batch.Noise = l.noise.of(rows, l.decoder.Embedding)
	if !l.router.on() {
		sum, weight = l.forward(rows, scale, l.smoothing)
		l.tape.Backward()
		return sum, weight
	}
	share := l.router.share(rows)
	l.router.beginBatch(l.tape, share)
	sum, weight = l.forward(rows, scale, l.smoothing)
	l.tape.Backward() // with checkpointing, routers are passed here
	l.router.endBatch(l.tape, share)
	return sum, weight
}

// loss is the summed loss of rows as an evaluation has it, without noise and smoothing, and
// the weight of what it sums up.
func (l *learner) loss(rows []dataset.Row) (sum, weight float64) {
	l.tape.Reset(false)
	l.batch.Noise = nil
	return l.forward(rows, 0, 0)
}

// set makes rows the batch at hand, which needs no padding.
func (l *learner) set(rows []dataset.Row) {
	l.joined.Set(rows...)
	l.batch.Set(l.joined.Tokens, l.joined.Docs)
}

func (l *learner) forward(rows []dataset.Row, scale, smoothing float32) (sum, weight float64) {
	l.set(rows)
	hidden := l.decoder.Hidden(l.tape, &l.batch, nil, l.checkpointing)
	return l.decoder.Loss(l.tape, hidden, nn.Targets{IDs: l.joined.Targets, Weights: l.joined.Weights, Smoothing: smoothing}, scale)
}

// weightOf is what the losses of rows are divided by for their mean: how many positions
// count, each as often as its weight says.
func weightOf(rows []dataset.Row) (weight float64) {
	for _, row := range rows {
		for i := range row.Docs {
			doc := &row.Docs[i]
			if doc.Scored == nil {
				weight += float64(doc.Len())
			}
			for _, s := range doc.Scored {
				weight += float64(s.Weight) * float64(s.To-s.From)
			}
		}
	}
	return weight
}

func countScored(rows []dataset.Row) (scored, tokens int) {
	for i := range rows {
		tokens += rows[i].Len()
		scored += rows[i].CountScored()
	}
	return scored, tokens
}
