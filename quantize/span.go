package quantize

import (
	"context"

	"qtool/gguf"
	"qtool/internal/kernel/product"
)

// spanElements is how many values of a tensor are looked at at once: whole blocks of
// every type.
const spanElements = 1 << 16

// spans calls look for every span of t, on all workers of pool, until one fails or ctx
// ends. Of several errors it returns that of the lowest span. progress, unless nil, gets
// the number of values that were looked at since the last call.
func spans(ctx context.Context, pool *product.Pool, t *gguf.Tensor, progress func(values int), look func(worker, span, first, n int) error) error {
	const perWorker = 8
	elements, batch := t.Elements(), spanElements*perWorker*pool.Workers()
	errs := make([]error, perWorker*pool.Workers())
	for start := 0; start < elements; start += batch {
		end := min(elements, start+batch)
		count := (end - start + spanElements - 1) / spanElements
		err := pool.RunWithin(ctx, count, func(worker, i int) {
			first := start + i*spanElements
			errs[i] = look(worker, first/spanElements, first, min(spanElements, end-first))
		})
		if err != nil {
			return err
		}
		for _, err := range errs[:count] {
			if err != nil {
				return err
			}
		}
		if progress != nil {
			progress(end - start)
		}
	}
	return nil
}

// spanCount is the number of spans of t.
func spanCount(t *gguf.Tensor) int { return (t.Elements() + spanElements - 1) / spanElements }

// spanReader decodes spans of tensors; each worker has its own.
type spanReader struct {
	raw    []byte
	values []float32
}

// read returns the bytes of values first to first+n-1 of t, whole blocks.
func (r *spanReader) read(t *gguf.Tensor, first, n int) ([]byte, error) {
	block, size := t.Type.BlockElements(), t.Type.BlockBytes()
	return readData(t, int64(first/block)*int64(size), n/block*size, &r.raw)
}

// decode fills in the values of b, the bytes of n values of type c.
func (r *spanReader) decode(c *Codec, b []byte, n int) []float32 {
	if len(r.values) < n {
		r.values = make([]float32, n)
	}
	c.DecodeRow(r.values[:n], b)
	return r.values[:n]
}
