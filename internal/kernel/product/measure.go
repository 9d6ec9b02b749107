package product

import (
	"time"

	"qtool/internal/kernel/vector"
)

// Direction names a product over a weight.
type Direction string

const (
	DirectionForward  Direction = "forward"  // y += x·Wᵀ
	DirectionBackward Direction = "backward" // dx += dy·W
)

// peak multiplies in registers alone, as the widest micro-kernel does.
type peak struct {
	run func(rounds int)
	// operations are the multiplications and additions of one round.
	operations int
}

// MeasurePeak returns the GFLOP/s that p's workers reach together where nothing
// but the multiplier of the tier and precision in use holds them up. Like the
// other measurements it is the best of runs that take about the given time.
func MeasurePeak(p *Pool, total time.Duration) float64 {
	how := p.ofEncoded().peak
	const rounds = 1 << 16
	seconds := best(total, func() {
		p.Run(p.Workers(), func(_, _ int) { how.run(rounds) })
	})
	return float64(p.Workers()*rounds*how.operations) / seconds / 1e9
}

// rates measures how many multiplications one worker does in a nanosecond, in each way, in
// some microseconds.
func (t *tier) rates() (r [ways]float64) {
	const rounds, times = 256, 4
	for w, m := range t.multipliers {
		if m == nil {
			continue
		}
		shortest := time.Hour
		for range times {
			from := time.Now()
			m.peak.run(rounds)
			shortest = min(shortest, time.Since(from))
		}
		r[w] = float64(rounds*m.peak.operations/2) / float64(max(shortest, 1).Nanoseconds())
	}
	return r
}

// MeasureProduct returns the GFLOP/s of tokens rows multiplied with w.
func MeasureProduct(p *Pool, d Direction, tokens int, w Matrix, total time.Duration) float64 {
	in, out := w.Cols, w.Rows
	if d == DirectionBackward {
		in, out = out, in
	}
	x, y := make([]float32, tokens*in), make([]float32, tokens*out)
	for i := range x {
		x[i] = float32(i%7) - 3
	}
	seconds := best(total, func() {
		if d == DirectionBackward {
			Backward(p, y, x, tokens, w)
		} else {
			Forward(p, y, x, tokens, w)
		}
	})
	return 2 * float64(tokens) * float64(in) * float64(out) / seconds / 1e9
}

// BandwidthBytes is the memory that MeasureBandwidth takes.
const BandwidthBytes = 256 << 20

// MeasureBandwidth returns the GB/s at which p's workers together read memory
// that no cache holds, each a long run of its own.
func MeasureBandwidth(p *Pool, total time.Duration) float64 {
	const chunk, chunks = 1 << 16, BandwidthBytes / 4 >> 16
	v := make([]float32, chunk*chunks)
	for i := range v {
		v[i] = 1 // every page is its own, not the one page of zeros
	}
	seconds := best(total, func() {
		p.Run(p.Workers(), func(_, part int) {
			for c := part * chunks / p.Workers(); c < (part+1)*chunks/p.Workers(); c++ {
				vector.Dot(v[c*chunk:][:chunk], v[c*chunk:])
			}
		})
	})
	return float64(4*len(v)) / seconds / 1e9
}

// best is the shortest time of f, in seconds, after a run to warm up.
func best(total time.Duration, f func()) float64 {
	f()
	shortest := time.Duration(1<<63 - 1)
	for begin := time.Now(); time.Since(begin) < total; {
		from := time.Now()
		f()
		shortest = min(shortest, time.Since(from))
	}
	return shortest.Seconds()
}
