package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"qtool/internal/half"
)

// onEachTier runs f once on every tier that the machine has.
func onEachTier(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	for _, name := range Tiers() {
		t.Run(name, func(t *testing.T) {
			undo, err := UseTier(name)
			if err != nil {
				t.Fatal(err)
			}
			defer undo()
			f(t)
		})
	}
}

func TestATierThatIsNotThereIsAnErrorAndChangesNothing(t *testing.T) {
	before := Tier()
	for _, name := range []string{"avx1024", "", "GO"} {
		if _, err := UseTier(name); err == nil || !strings.Contains(err.Error(), "not the name of a tier") {
			t.Errorf("%q: error %v", name, err)
		}
	}
	missing := "neon"
	if before == "neon" {
		missing = "avx2"
	}
	if _, err := UseTier(missing); err == nil || !strings.Contains(err.Error(), "does not have") {
		t.Errorf("%q: error %v", missing, err)
	}
	undo, err := UseTier("go")
	if err != nil || Tier() != "go" {
		t.Fatalf("tier %q, error %v", Tier(), err)
	}
	undo()
	if Tier() != before {
		t.Errorf("tier %q after undo, want %q", Tier(), before)
	}
}

func TestTheEnvironmentForcesATier(t *testing.T) {
	if os.Getenv("KERNEL_TEST_REPORT_TIER") != "" {
		// Under an emulator this process may have another CPU than the one that started it.
		tier := Tier()
		if tier == Tiers()[0] {
			tier = "the fastest"
		}
		fmt.Printf("go=%v tier=%s error=%v\n", Tier() == "go", tier, EnvironmentError())
		return
	}
	for _, c := range []struct{ value, want string }{
		{"go", "go=true"},
		{"nonsense", `tier=the fastest error=QTOOL_CPU: "nonsense" is not the name of a tier`},
	} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestTheEnvironmentForcesATier$")
		cmd.Env = append(os.Environ(), "KERNEL_TEST_REPORT_TIER=1", "QTOOL_CPU="+c.value)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Skipf("cannot run the test binary again: %v", err)
		}
		if !strings.Contains(string(out), c.want) {
			t.Errorf("QTOOL_CPU=%s: %s", c.value, out)
		}
	}
}

// guarded is n random elements, offset elements past an aligned address, with
// canaries on both sides.
type guarded struct {
	all  []float32
	from int
	v    []float32
}

const guard = 40

var canary = math.Float32frombits(0x7fc0dead)

func newGuarded(rng *rand.Rand, n, offset int) guarded {
	all := make([]float32, n+2*guard+16)
	for i := range all {
		all[i] = canary
	}
	for uintptr(unsafe.Pointer(&all[guard]))%64 != 0 {
		all = all[1:]
	}
	g := guarded{all, guard + offset, all[guard+offset:][:n]}
	copy(g.v, random(rng, n))
	return g
}

func (g guarded) check(t *testing.T, name string) {
	t.Helper()
	for i, x := range g.all {
		if (i < g.from || i >= g.from+len(g.v)) && math.Float32bits(x) != math.Float32bits(canary) {
			t.Fatalf("%s: element %d outside of its %d was overwritten", name, i-g.from, len(g.v))
		}
	}
}

// special are values that a kernel must treat as the definition does.
var special = []float32{
	float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1)), math.MaxFloat32,
	math.SmallestNonzeroFloat32, -1e-40, 0, float32(math.Copysign(0, -1)),
}

// sprinkle puts special values at some places of v.
func sprinkle(rng *rand.Rand, v []float32) {
	for range len(v)/16 + min(len(v), 1) {
		v[rng.IntN(len(v))] = special[rng.IntN(len(special))]
	}
}

// sumOf returns a sum of products in float64 and the bound of what float32 may
// differ from it: infinite where a partial sum may overflow.
func sumOf(start float32, n int, term func(i int) (a, b float32)) (sum, bound float64) {
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

// agrees reports whether got is sum within bound; what is not finite must not
// be finite either.
func agrees(got float32, sum, bound float64) bool {
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

func TestDotEqualsTheDefinitionAtEveryLengthAndAlignment(t *testing.T) {
	onEachTier(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(5, 6))
		for n := range 300 {
			a, b := newGuarded(rng, n, n%5), newGuarded(rng, n, n%3)
			if n%4 == 3 {
				sprinkle(rng, a.v)
			}
			sum, bound := sumOf(0, n, func(i int) (float32, float32) { return a.v[i], b.v[i] })
			if got := Dot(a.v, b.v); !agrees(got, sum, bound) {
				t.Fatalf("length %d: %g, want %g within %g", n, got, sum, bound)
			}
		}
	})
}

func TestAxpyEqualsTheDefinitionAtEveryLengthAndAlignment(t *testing.T) {
	onEachTier(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(7, 8))
		for n := range 300 {
			y, x := newGuarded(rng, n, n%7), newGuarded(rng, n, n%3)
			if n%4 == 3 {
				sprinkle(rng, x.v)
				sprinkle(rng, y.v)
			}
			before := append([]float32(nil), y.v...)
			a := float32(rng.NormFloat64())
			Axpy(y.v, a, x.v)
			y.check(t, "y")
			for i, got := range y.v {
				sum, bound := sumOf(before[i], 1, func(int) (float32, float32) { return a, x.v[i] })
				if !agrees(got, sum, bound) {
					t.Fatalf("length %d: y[%d] = %g, want %g", n, i, got, sum)
				}
			}
		}
	})
}

func TestPairKernelsRoundAndInterleaveEveryLengthAndNoMore(t *testing.T) {
	onEachTier(t, func(t *testing.T) {
		if active.pairs == nil {
			t.Skip("no bfloat16")
		}
		rng := rand.New(rand.NewPCG(27, 28))
		guardedPairs := func(n, offset int) (all, v []uint16) {
			all = slices.Repeat([]uint16{0xdead}, n+2*guard+16)
			return all, all[guard+offset:][:n]
		}
		check := func(name string, all, v []uint16, offset int) {
			t.Helper()
			for i, x := range all {
				if (i < guard+offset || i >= guard+offset+len(v)) && x != 0xdead {
					t.Fatalf("%s: element %d outside of its %d was overwritten", name, i-guard-offset, len(v))
				}
			}
		}
		for n := 16; n <= 320; n += 16 {
			src, offset := newGuarded(rng, n, n/16%5), n/16%7
			sprinkle(rng, src.v)
			all, rounded := guardedPairs(n, offset)
			active.pairs.round(&rounded[0], &src.v[0], n)
			check("round", all, rounded, offset)
			for i, x := range src.v {
				want := half.ToBFloat16(x)
				if want&0x7f80 == 0 {
					want &= 0x8000 // the instruction takes subnormals for zero
				}
				if rounded[i] != want && (x == x || rounded[i]&0x7fff <= 0x7f80) {
					t.Fatalf("round(%g) = %#04x, want %#04x", x, rounded[i], want)
				}
			}
			dst := newGuarded(rng, n, n/16%3)
			_, other := guardedPairs(n, 1)
			for i := range other {
				other[i] = uint16(rng.Uint32())
			}
			active.pairs.interleave(&dst.v[0], &rounded[0], &other[0], n)
			dst.check(t, "interleave")
			for i, pair := range dst.v {
				if want := uint32(rounded[i]) | uint32(other[i])<<16; math.Float32bits(pair) != want {
					t.Fatalf("pair %d of %d is %#08x, want %#08x", i, n, math.Float32bits(pair), want)
				}
			}
		}
	})
}

func TestTransposeMovesEveryElementAndNoMoreThanAVectorBeyond(t *testing.T) {
	onEachTier(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(9, 10))
		lanes := active.lanes
		for n := 0; n <= 64; n += 4 {
			for stride := 1; stride <= lanes+3; stride++ {
				var rows rowPointers
				var sources [16]guarded
				for r := range lanes {
					sources[r] = newGuarded(rng, max(n, 1), r%4)
					rows[r] = &sources[r].v[0]
				}
				size := 1
				if n > 0 {
					size = (n-1)*stride + lanes
				}
				dst := newGuarded(rng, size, n/4%4)
				active.transpose(&dst.v[0], stride, &rows, n)
				dst.check(t, "dst")
				for k := range n {
					for r := range min(stride, lanes) {
						if dst.v[k*stride+r] != sources[r].v[k] {
							t.Fatalf("n %d stride %d: element [%d,%d] is wrong", n, stride, r, k)
						}
					}
				}
			}
		}
	})
}

func TestPackedRowsAreThereAndNothingBeyond(t *testing.T) {
	onEachTier(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(13, 14))
		wide := active.widths[0]
		for n := 0; n <= 5*wide; n++ {
			src, step := newGuarded(rng, n, n%4), wide*(1+n%3)+n%2
			dst := newGuarded(rng, max(n-1, 0)/wide*step+wide, n%5)
			before := append([]float32(nil), dst.v...)
			active.packRow(dst.v, step, src.v)
			dst.check(t, "dst")
			for i, x := range src.v {
				at := i/wide*step + i%wide
				if dst.v[at] != x {
					t.Fatalf("%d elements, panels %d apart: element %d is wrong", n, step, i)
				}
				before[at] = x
			}
			if !slices.Equal(dst.v, before) {
				t.Fatalf("%d elements, panels %d apart: others were overwritten", n, step)
			}
		}
	})
}

func TestEveryTileEqualsTheDefinitionAndStaysInside(t *testing.T) {
	onEachTier(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(11, 12))
		for w, tiles := range active.tiles {
			width := active.widths[w]
			for r, tile := range tiles {
				for _, k := range []int{0, 1, 2, 3, 17, 49, 51, 64, 102} {
					t.Run(fmt.Sprintf("%dx%d/%d", r+1, width, k), func(t *testing.T) {
						checkTile(t, rng, tile, r+1, width, k, true)
						checkTile(t, rng, tile, r+1, width, k, false)
					})
				}
			}
		}
	})
}

func checkTile(t *testing.T, rng *rand.Rand, tile tileFunc, rows, width, k int, add bool) {
	lda, ldb, ldc := rows+rng.IntN(3), width+rng.IntN(3), width+rng.IntN(3)
	span := func(ld, inner, n int) int { return max(n-1, 0)*ld + inner }
	a := newGuarded(rng, span(lda, rows, k), rng.IntN(4))
	b := newGuarded(rng, span(ldb, width, k), rng.IntN(4))
	c := newGuarded(rng, span(ldc, width, rows), rng.IntN(4))
	if k == 17 {
		sprinkle(rng, a.v)
		sprinkle(rng, b.v)
	}
	before := append([]float32(nil), c.v...)
	tile(k, &a.v[0], lda, &b.v[0], ldb, &c.v[0], ldc, add)
	c.check(t, "c")
	for i, got := range c.v {
		row, column := i/ldc, i%ldc
		if column >= width {
			if got != before[i] {
				t.Fatalf("the gap at [%d,%d] was overwritten", row, column)
			}
			continue
		}
		start := before[i]
		if !add {
			start = 0
		}
		sum, bound := sumOf(start, k, func(l int) (float32, float32) { return a.v[l*lda+row], b.v[l*ldb+column] })
		if !agrees(got, sum, bound) {
			t.Fatalf("[%d,%d] = %g, want %g within %g", row, column, got, sum, bound)
		}
	}
}
