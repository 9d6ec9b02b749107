package product

import (
	"sync"

	"qtool/internal/work"
)

// Pool is a pool of workers that multiplies. It keeps what that needs, so that none of it
// is allocated again.
type Pool struct {
	*work.Pool

	precision  Precision
	distance   distance
	multiplied float64    // by batches, also in rehearsals
	operation  sync.Mutex // held by the batch or product in flight
	batch      Batch
	scratch    []scratch // one per worker
	vectors    vectors
}

// NewPool starts a pool of the given number of workers; 0 means GOMAXPROCS.
func NewPool(workers int) *Pool {
	p := &Pool{Pool: work.NewPool(workers)}
	p.scratch = make([]scratch, p.Workers())
	p.batch.init(p)
	p.vectors.scratch = p.scratch
	p.distance.init(p.Workers())
	p.OnUnwind(func() {
		if p.batch.begun {
			p.batch.End()
		}
	})
	return p
}
