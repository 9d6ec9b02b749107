package dataset

import (
	"fmt"
	"slices"
)

// Position is a place in the order of training. It is plain data to be stored in
// a checkpoint.
type Position struct {
	Seed  uint64 `json:"seed"`
	Rows  int    `json:"rows"`
	Epoch int    `json:"epoch"` // from 0
	Index int    `json:"index"` // how many rows of the epoch were given out
}

// Sampler gives out the indices of rows, every row once an epoch, in an order of
// its own each epoch. What comes next is a pure function of the position.
type Sampler struct {
	at      Position
	order   []int // of the epoch at.Epoch
	lengths []int // of the rows, if those of a batch are to have similar ones
	batch   int
}

// NewSampler starts at the first row of epoch 0. rows must be positive.
func NewSampler(rows int, seed uint64) *Sampler {
	if rows <= 0 {
		panic("dataset: a sampler of no rows")
	}
	s := &Sampler{at: Position{Seed: seed, Rows: rows}, order: make([]int, rows)}
	s.shuffle()
	return s
}

// NewBucketSampler is NewSampler for rows of such lengths of which batch are computed
// together: the rows of a batch have similar lengths.
func NewBucketSampler(lengths []int, batch int, seed uint64) *Sampler {
	s := NewSampler(len(lengths), seed)
	s.lengths, s.batch = lengths, max(1, batch)
	s.shuffle()
	return s
}

// shuffle makes the order of the epoch.
func (s *Sampler) shuffle() {
	permute(s.order, s.at.Seed, streamEpoch+uint64(s.at.Epoch))
	if s.batch > 1 {
		s.bucket()
	}
}

// bucketBatches is among the rows of how many batches similar ones are sought: enough for
// lengths to be close, few enough for batches to differ from epoch to epoch.
const bucketBatches = 50

// bucket sorts the rows of some batches at a time by length, and shuffles the batches. One
// that is not full comes last.
func (s *Sampler) bucket() {
	for rows := range slices.Chunk(s.order, bucketBatches*s.batch) {
		slices.SortStableFunc(rows, func(a, b int) int { return s.lengths[b] - s.lengths[a] })
	}
	full := len(s.order) / s.batch
	sorted := slices.Clone(s.order)
	for i, b := range permutation(full, s.at.Seed, streamBatches+uint64(s.at.Epoch)) {
		copy(s.order[i*s.batch:], sorted[b*s.batch:(b+1)*s.batch])
	}
}

// Next returns the index of the next row and the epoch it belongs to. It never ends.
func (s *Sampler) Next() (row, epoch int) {
	if s.at.Index == s.at.Rows {
		s.at.Epoch++
		s.at.Index = 0
		s.shuffle()
	}
	row = s.order[s.at.Index]
	s.at.Index++
	return row, s.at.Epoch
}

// Position is where the sampler stands.
func (s *Sampler) Position() Position { return s.at }

// Restore continues from p, which must come from a sampler of as many rows and
// the same seed: else the data or the options changed since.
func (s *Sampler) Restore(p Position) error {
	if p.Rows != s.at.Rows || p.Seed != s.at.Seed {
		return fmt.Errorf("the run stood in %d rows shuffled with seed %d, but the data now make %d rows and the seed is %d; resume with the same data and options",
			p.Rows, p.Seed, s.at.Rows, s.at.Seed)
	}
	if p.Epoch < 0 || p.Index < 0 || p.Index > p.Rows {
		return fmt.Errorf("the position in the data is damaged: epoch %d, row %d of %d", p.Epoch, p.Index, p.Rows)
	}
	s.at = p
	s.shuffle()
	return nil
}
