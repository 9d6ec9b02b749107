package train

import (
	"qtool/internal/dataset"
	"qtool/internal/kernel"
	"qtool/internal/model"
	"qtool/internal/nn"
)

// Estimate is what a run would take, told by shapes alone.
type Estimate struct {
	Architecture string `json:"architecture"`
	Layers       int    `json:"layers"`
	Trained      int64  `json:"trained_parameters"`
	Seq          int    `json:"tokens_per_row"`
	StepTokens   int    `json:"tokens_per_step"`
	Memory       Memory `json:"memory_bytes"`
	LargestPart  int64  `json:"largest_block_bytes"` // of the base, which is in memory at once

	BaseBytes       int64 `json:"base_bytes"`
	AdapterBytes    int64 `json:"adapter_bytes"`
	CheckpointBytes int64 `json:"checkpoint_bytes"` // twice, while one replaces another
	DiskBytes       int64 `json:"disk_bytes"`

	// ReadBytes is what a step reads of the base: forward and back, and of experts
	// those that tokens choose if the router spreads them evenly.
	ReadBytes     float64 `json:"read_bytes_per_step"`
	FLOPsPerToken float64 `json:"flops_per_token"`
}

// Foretell estimates steps of full batches of rows of seq tokens, on a decoder with
// pairs, both of which may be of [model.Options.Shapes] and [lora.Config.Shapes]. program is
// what the program takes besides.
func Foretell(c Config, d *model.Decoder, params []*nn.Param, pool *kernel.Pool, seq int, program int64) Estimate {
	pool.SetPrecision(c.KernelPrecision())
	l := newLearner(d, params, pool, c.Checkpointing)
	rows := make([]dataset.Row, c.Batch)
	var data int64
	for i := range rows {
		rows[i].Docs = []dataset.Example{{IDs: make([]int32, seq+1)}}
		data += rows[i].Bytes()
	}
	l.tape.Rehearse(func() { l.accumulate(rows, 0) })

	e := Estimate{Architecture: d.Architecture, Layers: d.Layers, Seq: seq, StepTokens: seq * c.Batch * c.GradAccum}
	for _, p := range params {
		e.Trained += int64(len(p.Data))
	}
	e.Memory = memoryOf(l.tape, 4*e.Trained, data, program)
	e.BaseBytes, e.LargestPart = d.MappedBytes(), d.LargestPart()
	e.Memory.MappedBase = e.BaseBytes
	e.AdapterBytes, e.CheckpointBytes = 4*e.Trained, 12*e.Trained
	e.DiskBytes = e.BaseBytes + e.AdapterBytes + 2*e.CheckpointBytes

	cost := d.Cost(c.Batch, seq)
	// Each weight is multiplied forward and back. What is computed again was just
	// read, so that it is not read once more.
	e.ReadBytes = float64(c.GradAccum) * (2*cost.PassBytes + cost.HeadBytes + cost.LookupBytes)
	again := 0.
	if c.Checkpointing {
		again = 1
	}
	pairs := pairWeights(d)
	// A multiplication and an addition each. Pairs have a gradient of their own; attention
	// back is five products to two forward.
	e.FLOPsPerToken = 2 * ((2+again)*cost.BlockWeights + 2*cost.HeadWeights + (3+again)*pairs + (3.5+again)*cost.Attention)
	return e
}

// pairWeights is how many weights of pairs one token is multiplied with.
func pairWeights(d *model.Decoder) (n float64) {
	for _, t := range d.Targets() {
		pair := t.Linear.Pair
		if pair == nil {
			continue
		}
		in, out, experts := t.Shape()
		if t.Transposed {
			in = 1 // looked up
		}
		weights := float64(pair.Rank) * float64(in+out)
		if experts > 1 {
			weights *= float64(d.ExpertsUsed) * float64(d.Experts) / float64(d.Experts+d.Router.Identity)
		}
		n += weights
	}
	return n
}
