package quantize

import (
	"context"
	"math"

	"qtool/gguf"
)

// Health is what the values of a tensor are like.
type Health struct {
	NotFinite int  // NaN or infinite, also by a block's scale
	First     int  // the first element that is
	Zero      bool // all are 0
}

// Examine decodes all of t, in bounded memory. progress, unless nil, gets the number of values
// that were looked at since the last call. It fails with [ErrUnsupported] if the type
// cannot be decoded.
func Examine(ctx context.Context, t *gguf.Tensor, pool *Pool, progress func(values int)) (Health, error) {
	codec, err := Lookup(t.Type)
	if err != nil {
		return Health{}, err
	}
	threads, done := pool.use()
	defer done()
	readers, found := make([]spanReader, threads.Workers()), make([]Health, spanCount(t))
	err = spans(ctx, threads, t, progress, func(worker, span, first, n int) error {
		r := &readers[worker]
		raw, err := r.read(t, first, n)
		if err != nil {
			return err
		}
		found[span] = healthOf(r.decode(codec, raw, n), first)
		return nil
	})
	all := Health{Zero: len(found) > 0}
	for _, h := range found {
		if all.NotFinite == 0 {
			all.First = h.First
		}
		all.NotFinite += h.NotFinite
		all.Zero = all.Zero && h.Zero
	}
	return all, err
}

func healthOf(values []float32, first int) Health {
	h := Health{Zero: true}
	for i, v := range values {
		if v == 0 {
			continue
		}
		h.Zero = false
		if math.Float32bits(v)&0x7f800000 == 0x7f800000 {
			if h.NotFinite == 0 {
				h.First = first + i
			}
			h.NotFinite++
		}
	}
	return h
}
