// Package kerneltest is what the tests of kernels share: running on every tier, buffers
// between canaries or before forbidden pages, sums with the bound that rounding allows, and
// random rows of every ggml type. Only tests import it.
//
// It may import internal/ggml, internal/half and internal/kernel/simd.
package kerneltest

import (
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"

	"qtool/internal/kernel/simd"
)

// OnEachTier runs f once on every tier that the machine has.
func OnEachTier(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	for _, name := range simd.Names() {
		t.Run(name, func(t *testing.T) {
			undo, err := simd.Use(name)
			if err != nil {
				t.Fatal(err)
			}
			defer undo()
			f(t)
		})
	}
}

// Guarded is n random elements, offset elements past an aligned address, with
// canaries on both sides.
type Guarded struct {
	all  []float32
	from int
	V    []float32
}

// Guard is how many canaries are on each side.
const Guard = 40

// Canary is a number that no kernel makes.
var Canary = math.Float32frombits(0x7fc0dead)

// NewGuarded makes one.
func NewGuarded(rng *rand.Rand, n, offset int) Guarded {
	all := make([]float32, n+2*Guard+16)
	for i := range all {
		all[i] = Canary
	}
	for uintptr(unsafe.Pointer(&all[Guard]))%64 != 0 {
		all = all[1:]
	}
	g := Guarded{all, Guard + offset, all[Guard+offset:][:n]}
	copy(g.V, Random(rng, n))
	return g
}

// Check fails the test if a canary is not what it was.
func (g Guarded) Check(t *testing.T, name string) {
	t.Helper()
	for i, x := range g.all {
		if (i < g.from || i >= g.from+len(g.V)) && math.Float32bits(x) != math.Float32bits(Canary) {
			t.Fatalf("%s: element %d outside of its %d was overwritten", name, i-g.from, len(g.V))
		}
	}
}

// Special are values that a kernel must treat as the definition does.
var Special = []float32{
	float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1)), math.MaxFloat32,
	math.SmallestNonzeroFloat32, -1e-40, 0, float32(math.Copysign(0, -1)),
}

// Sprinkle puts special values at some places of v.
func Sprinkle(rng *rand.Rand, v []float32) {
	for range len(v)/16 + min(len(v), 1) {
		v[rng.IntN(len(v))] = Special[rng.IntN(len(Special))]
	}
}

// SumOf returns a sum of products in float64 and the bound of what float32 may
// differ from it: infinite where a partial sum may overflow.
func SumOf(start float32, n int, term func(i int) (a, b float32)) (sum, bound float64) {
	sum, magnitude := float64(start), math.Abs(float64(start))
	for i := range n {
		a, b := term(i)
		sum += float64(a) * float64(b)
		magnitude += math.Abs(float64(a) * float64(b))
	}
	if magnitude > math.MaxFloat32 {
		return sum, math.Inf(1)
	}
	return sum, magnitude*float64(n+2)*0x1p-24 + float64(n+2)*math.SmallestNonzeroFloat32
}

// Agrees reports whether got is sum within bound; what is not finite must not
// be finite either.
func Agrees(got float32, sum, bound float64) bool {
	g := float64(got)
	switch {
	case math.IsNaN(sum):
		return math.IsNaN(g)
	case math.IsInf(sum, 0):
		return math.IsInf(g, 0) || math.IsNaN(g)
	case math.IsInf(bound, 0): // overflows on the way in some orders
		return true
	}
	return math.Abs(g-sum) <= bound
}

// Random is n numbers of the normal distribution.
func Random(rng *rand.Rand, n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(rng.NormFloat64())
	}
	return v
}
