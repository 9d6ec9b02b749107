package product

import (
	"sync/atomic"
	"time"

	"qtool/internal/work"
)

// distance is whether workers are far from each other: a cache line that one wrote
// takes long to reach another. Where the threads of a pool run is the system's choice,
// or that of the host below it, which changes while the pool is at work.
type distance struct {
	far  bool
	last time.Time // when it was measured

	// rates are how many multiplications one worker does in a nanosecond in float32 and
	// in bfloat16; known once workers were far.
	rates [2]float64

	starts []int // of do
	task   work.TaskFunc
	_      work.Padding
	ball   atomic.Int64 // thrown by the first worker with odd numbers, by the second with even ones
	_      work.Padding
}

const (
	distanceEvery = 50 * time.Millisecond
	// farAway is the time to and fro that separates cores that share a cache, which
	// take 50 to 100 ns, from others, which take 300 and more.
	farAway = 200 * time.Nanosecond
	// patience is how often a thrower looks for the ball before giving up: the other
	// may not be running.
	patience = 1 << 14
	dropped  = -1
)

func (d *distance) init(workers int) {
	d.starts = make([]int, workers+1)
	for w := range workers {
		d.starts[w+1] = min(w+1, 2)
	}
	d.task = func(_, part int) {
		if part == 0 {
			d.throw()
		} else {
			d.throwBack()
		}
	}
}

// measure measures the distance of the first two workers, now and then.
func (p *Pool) measureDistance() {
	d := &p.distance
	if p.Workers() == 1 || p.Rehearsing() || time.Since(d.last) < distanceEvery {
		return
	}
	d.ball.Store(0)
	p.DoFrom(2, d.starts, d.task)
	if d.far && d.rates[0] == 0 {
		d.rates = active().rates()
	}
	d.last = time.Now()
}

// throw is the first worker's part.
func (d *distance) throw() {
	const throws, tries = 8, 2
	defer d.ball.Store(dropped)
	ball := int64(1)
	if !d.toAndFro(ball) { // the second one may have to wake up
		return
	}
	shortest := time.Hour
	for range tries {
		from := time.Now()
		for range throws {
			if ball += 2; !d.toAndFro(ball) {
				return
			}
		}
		shortest = min(shortest, time.Since(from))
	}
	d.far = shortest > throws*farAway
}

func (d *distance) toAndFro(ball int64) bool {
	d.ball.Store(ball)
	return d.await(ball + 1)
}

// throwBack is the second worker's part.
func (d *distance) throwBack() {
	for ball := int64(1); d.await(ball); ball += 2 {
		if !d.ball.CompareAndSwap(ball, ball+1) {
			return
		}
	}
}

// await waits for a ball, and reports whether it came.
func (d *distance) await(ball int64) bool {
	for range patience {
		switch d.ball.Load() {
		case ball:
			return true
		case dropped:
			return false
		}
	}
	return false
}
