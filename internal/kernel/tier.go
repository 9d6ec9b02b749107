package kernel

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"qtool/internal/ggml"
)

// tier is one implementation of every kernel. All tiers compute the same sums
// in an order of their own; on one tier a result never depends on the number
// of workers or of tokens.
type tier struct {
	name string
	// tiles[w][r-1] multiplies r rows with widths[w] columns; widths fall.
	tiles  [2][]tileFunc
	widths [2]int
	// transpose reads lanes rows at once.
	lanes     int
	transpose func(dst *float32, stride int, rows *rowPointers, n int)
	// toPanels stores the n pieces of widths[0] elements of src step elements apart.
	toPanels func(dst *float32, step int, src *float32, n int)
	dot      func(a, b *float32, n int) float32
	// dotRows is as decoder.dot, over rows of float32 in blocks of 16; nil: dot.
	dotRows func(x *float32, src *byte, blocks, rows int, y *float32)
	axpy    func(y *float32, a float32, x *float32, n int)
	// adamW is AdamWStep.Apply for a multiple of adamWLanes; nil: in Go.
	adamW func(s *AdamWStep, w, grad, m, v *float32, n int)
	peak  peak
	elementwise
	// prefetch fetches n bytes into the cache; nil where that does nothing.
	prefetch func(p *byte, n int)
	// pairs is nil where bfloat16 is not faster.
	pairs    *pairKernels
	decoders [ggml.Types]decoder
	encoders [ggml.Types]encodeFunc // nil: package quantize does it
	// halfEncoders take float16 elements, bfloatEncoders bfloat16; nil: by way of float32.
	halfEncoders, bfloatEncoders [ggml.Types]halfEncodeFunc
	// magnitude is the greatest of the bits of n elements without their signs, n a
	// multiple of 16; nil: in Go.
	magnitude func(v *float32, n int) uint32
	searches
}

// tileFunc computes c[i·ldc+j] = sum over l < k of a[l·lda+i]·b[l·ldb+j], or +=
// if add, for a fixed number of rows i and columns j. Each sum starts at 0, runs
// over l in ascending order and is then stored in c or added to it.
type tileFunc func(k int, a *float32, lda int, b *float32, ldb int, c *float32, ldc int, add bool)

// rowPointers holds the starts of up to 16 rows.
type rowPointers [16]*float32

// rows is the most rows that a tile has.
func (t *tier) rows() int { return len(t.tiles[0]) }

// active is the dispatch table: the tier in use.
var active *tier

// environment is the reason why QTOOL_CPU was not honoured, or nil.
var environment error

func init() {
	active = available()[0]
	if name := os.Getenv("QTOOL_CPU"); name != "" {
		if _, err := UseTier(name); err != nil {
			environment = fmt.Errorf("QTOOL_CPU: %w", err)
		}
	}
}

// available lists the tiers that this machine has, fastest first.
func available() []*tier { return append(machineTiers(), &goTier) }

// knownTiers are the names of all tiers of all platforms.
var knownTiers = []string{"go", "avx2", "avx512", "avx512bf16", "neon"}

// Tier is the name of the tier in use.
func Tier() string { return active.name }

// Tiers are the names of the tiers that this machine has, fastest first.
func Tiers() []string {
	var names []string
	for _, t := range available() {
		names = append(names, t.name)
	}
	return names
}

// EnvironmentError says why the environment variable QTOOL_CPU could not be
// honoured; it is nil if it was, or is not set. Commands report it and stop.
func EnvironmentError() error { return environment }

// UseTier selects a tier by name and returns the function that undoes it. It
// must not be called while kernels run.
func UseTier(name string) (undo func(), err error) {
	before := active
	for _, t := range available() {
		if t.name == name {
			active = t
			return func() { active = before }, nil
		}
	}
	names := strings.Join(Tiers(), ", ")
	if slices.Contains(knownTiers, name) {
		return nil, fmt.Errorf("this machine or build does not have the tier %q; it has %s", name, names)
	}
	return nil, fmt.Errorf("%q is not the name of a tier; this machine has %s", name, names)
}
