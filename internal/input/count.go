package input

import (
	"errors"
	"fmt"
	"math"
)

// ErrCount is in the chain of the error about a count that a file claims and cannot hold.
var ErrCount = errors.New("impossible count")

// Limit is how many of something a file can hold at most, and why.
type Limit struct {
	Most int64
	Why  string // as in "the file has 12 tensors"
}

// MostInt32 is the limit of sizes that ggml's programs hold in 32 bits.
func MostInt32() Limit { return Limit{math.MaxInt32, "programs hold it in 32 bits"} }

// Lesser is the stricter of two limits.
func (l Limit) Lesser(other Limit) Limit {
	if other.Most < l.Most {
		return other
	}
	return l
}

// Count is n, a count that a file claims under the given name, if it is from least to the
// limit. Every count that decides over memory or work passes here before it is used.
func Count[N int | int32 | int64 | uint32 | uint64](name string, n N, least int, l Limit) (int, error) {
	if n < 0 || uint64(n) < uint64(least) {
		return 0, fmt.Errorf("%w: %s is %d, expected at least %d", ErrCount, name, n, least)
	}
	if uint64(n) > uint64(l.Most) {
		return 0, fmt.Errorf("%w: %s is %d, expected at most %d: %s", ErrCount, name, n, l.Most, l.Why)
	}
	return int(n), nil
}
