package quantize

import (
	"bytes"
	"context"
	"fmt"
	"math"

	"qtool/gguf"
)

// Difference is how far the values of one tensor are from those of another. Values
// that are not finite in either are counted, and left out of all else.
type Difference struct {
	Identical bool    `json:"identical"` // same type and bytes
	MaxError  float64 `json:"max_error"` // the largest |b-a|
	MaxAt     int     `json:"max_at"`    // the first element that has it
	RMSE      float64 `json:"rmse"`      // root of the mean of (b-a)²
	Relative  float64 `json:"relative"`  // RMSE over the root mean square of a; 1 if a is zero and b is not
	Cosine    float64 `json:"cosine"`    // of the angle between both; 1 if both are zero
	NotFinite int     `json:"not_finite"`
}

// Compare compares tensors of one shape, of whatever types, in bounded memory. progress,
// unless nil, gets the number of values that were compared since the last call. The result
// does not depend on the pool. It fails with [ErrUnsupported] if the types differ and one
// cannot be decoded; of one type that cannot be decoded only the bytes are compared.
func Compare(ctx context.Context, a, b *gguf.Tensor, pool *Pool, progress func(values int)) (Difference, error) {
	if !gguf.SameShape(a.Shape, b.Shape) {
		return Difference{}, fmt.Errorf("tensor %q has shape %v, the other %v", a.Name, a.Shape, b.Shape)
	}
	codecA, errA := Lookup(a.Type)
	codecB, errB := Lookup(b.Type)
	if errA != nil && a.Type == b.Type {
		same, err := sameBytes(ctx, a, b)
		if progress != nil {
			progress(a.Elements())
		}
		return Difference{Identical: same}, err
	}
	for _, err := range []error{errA, errB} {
		if err != nil {
			return Difference{}, fmt.Errorf("tensor %q: %w", a.Name, err)
		}
	}
	type both struct{ a, b spanReader }
	threads, done := pool.use()
	defer done()
	readers, sums := make([]both, threads.Workers()), make([]differenceSums, spanCount(a))
	err := spans(ctx, threads, a, progress, func(worker, span, first, n int) error {
		r := &readers[worker]
		rawA, err := r.a.read(a, first, n)
		if err != nil {
			return err
		}
		rawB, err := r.b.read(b, first, n)
		if err != nil {
			return err
		}
		s := &sums[span]
		s.changed = a.Type != b.Type || !bytes.Equal(rawA, rawB)
		s.add(r.a.decode(codecA, rawA, n), r.b.decode(codecB, rawB, n), first)
		return nil
	})
	if err != nil {
		return Difference{}, err
	}
	total := differenceSums{changed: a.Type != b.Type} // an empty tensor has a type too
	for _, s := range sums {
		total.join(s)
	}
	return total.difference(), nil
}

// differenceSums is what one span adds to a Difference.
type differenceSums struct {
	changed           bool
	aa, bb, ab, dd    float64 // Σa², Σb², Σab, Σ(b-a)²
	largest           float64
	at                int
	finite, notFinite int
}

func (s *differenceSums) add(a, b []float32, first int) {
	for i, x := range a {
		x, y := float64(x), float64(b[i])
		d := y - x
		if math.IsNaN(d) || math.IsInf(d, 0) {
			s.notFinite++
			continue
		}
		s.finite++
		s.aa += float64(x * x)
		s.bb += float64(y * y)
		s.ab += float64(x * y)
		s.dd += float64(d * d)
		if d = math.Abs(d); d > s.largest {
			s.largest, s.at = d, first+i
		}
	}
}

func (s *differenceSums) join(o differenceSums) {
	s.changed = s.changed || o.changed
	s.aa += o.aa
	s.bb += o.bb
	s.ab += o.ab
	s.dd += o.dd
	s.finite += o.finite
	s.notFinite += o.notFinite
	if o.largest > s.largest {
		s.largest, s.at = o.largest, o.at
	}
}

func (s *differenceSums) difference() Difference {
	d := Difference{
		Identical: !s.changed, MaxError: s.largest, MaxAt: s.at, NotFinite: s.notFinite,
		RMSE: math.Sqrt(s.dd / max(1, float64(s.finite))), Cosine: 1,
	}
	switch {
	case s.aa > 0:
		d.Relative = math.Sqrt(s.dd / s.aa)
	case s.bb > 0:
		d.Relative = 1
	}
	if s.dd > 0 {
		d.Cosine = 0
		if s.aa > 0 && s.bb > 0 {
			d.Cosine = min(1, s.ab/math.Sqrt(s.aa)/math.Sqrt(s.bb))
		}
	}
	return d
}

// sameBytes compares the data of tensors of one type.
func sameBytes(ctx context.Context, a, b *gguf.Tensor) (bool, error) {
	if a.Size() != b.Size() {
		return false, nil
	}
	const chunk = 1 << 20
	var bufA, bufB []byte
	for off := int64(0); off < a.Size(); off += chunk {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		n := int(min(chunk, a.Size()-off))
		rawA, err := readData(a, off, n, &bufA)
		if err != nil {
			return false, err
		}
		rawB, err := readData(b, off, n, &bufB)
		if err != nil {
			return false, err
		}
		if !bytes.Equal(rawA, rawB) {
			return false, nil
		}
	}
	return true, nil
}
