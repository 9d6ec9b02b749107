package quantize

import "qtool/internal/kernel/product"

// Pool is threads that several calls of [Examine] and [Compare] share, one call at a time. A
// nil *Pool stands for as many threads as the program may use, for that call alone.
type Pool struct{ threads *product.Pool }

// NewPool starts threads, as many as the program may use if the number is 0. The caller
// closes the pool.
func NewPool(threads int) *Pool { return &Pool{product.NewPool(threads)} }

// Close ends the threads.
func (p *Pool) Close() {
	if p != nil {
		p.threads.Close()
	}
}

// use gives the threads of p, and a function to be called once they are no longer used.
func (p *Pool) use() (threads *product.Pool, done func()) {
	if p != nil {
		return p.threads, func() {}
	}
	threads = product.NewPool(0)
	return threads, threads.Close
}
