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

	// rates are how many multiplications one worker does in a nanosecond, in each way to
	// multiply; known once workers were far.
	rates [ways]float64

	starts []int // of do
	task   work.TaskFunc
	_      work.Padding
	signal atomic.Int64 // the first worker sends odd numbers, the second answers with even ones
	_      work.Padding
}

const (
	distanceEvery = 50 * time.Millisecond
	// farAway is the time to and fro that separates cores that share a cache, which
	// take 50 to 100 ns, from others, which take 300 and more.
	farAway = 200 * time.Nanosecond
	// spinLimit is how often a worker looks for the answer before it gives up: the other
	// may not be running.
	spinLimit = 1 << 14
	givenUp   = -1
)

func (d *distance) init(workers int) {
	d.starts = make([]int, workers+1)
	for w := range workers {
		d.starts[w+1] = min(w+1, 2)
	}
	d.task = func(_, part int) {
		if part == 0 {
			d.ping()
		} else {
			d.pong()
		}
	}
}

// measure measures the distance of the first two workers, now and then.
func (p *Pool) measureDistance() {
	d := &p.distance
	if p.Workers() == 1 || p.Rehearsing() || time.Since(d.last) < distanceEvery {
		return
	}
	d.signal.Store(0)
	p.DoFrom(2, d.starts, d.task)
	if d.far && d.rates[0] == 0 {
		d.rates = active().rates()
	}
	d.last = time.Now()
}

// ping is the first worker's part.
func (d *distance) ping() {
	const pings, tries = 8, 2
	defer d.signal.Store(givenUp)
	number := int64(1)
	if !d.roundTrip(number) { // the second one may have to wake up
		return
	}
	shortest := time.Hour
	for range tries {
		from := time.Now()
		for range pings {
			if number += 2; !d.roundTrip(number) {
				return
			}
		}
		shortest = min(shortest, time.Since(from))
	}
	d.far = shortest > pings*farAway
}

func (d *distance) roundTrip(number int64) bool {
	d.signal.Store(number)
	return d.await(number + 1)
}

// pong is the second worker's part.
func (d *distance) pong() {
	for number := int64(1); d.await(number); number += 2 {
		if !d.signal.CompareAndSwap(number, number+1) {
			return
		}
	}
}

// await waits for a number, and reports whether it came.
func (d *distance) await(number int64) bool {
	for range spinLimit {
		switch d.signal.Load() {
		case number:
			return true
		case givenUp:
			return false
		}
	}
	return false
}
