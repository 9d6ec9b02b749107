package model

import (
	"errors"
	"fmt"
	"math"

	"qtool/gguf"
	"qtool/internal/input"
)

// keys reads an architecture's metadata. What it returns was read and is possible; a key
// that is not ends the loading, see [refusal].
type keys struct {
	md     *gguf.Metadata
	counts *gguf.Counts
	arch   string
}

func newKeys(src gguf.Model, arch string) *keys {
	return &keys{src.Metadata(), gguf.CountsOf(src, arch), arch}
}

// needInt is a required positive count.
func (k *keys) needInt(name string) int {
	n, err := k.counts.Int(name, 1)
	refuseBecause(asInvalid(err))
	return n
}

// int is an optional count.
func (k *keys) int(name string, def int) int {
	n, err := gguf.Or(k.counts.Int(name, 0))(def)
	refuseBecause(asInvalid(err))
	return n
}

func (k *keys) needFloat(name string) float64 {
	return k.finite(name)(k.md.Float(k.arch + "." + name))
}

func (k *keys) float(name string, def float64) float64 {
	return k.finite(name)(gguf.Or(k.md.Float(k.arch + "." + name))(def))
}

// finite refuses NaN and infinities.
func (k *keys) finite(name string) func(v float64, err error) float64 {
	return func(v float64, err error) float64 {
		refuseBecause(asInvalid(err))
		if math.IsNaN(v) || math.IsInf(v, 0) {
			refuseAs(ErrInvalid, "%s.%s is %g", k.arch, name, v)
		}
		return v
	}
}

func (k *keys) string(name, def string) string {
	v, err := gguf.Or(k.md.Str(k.arch + "." + name))(def)
	refuseBecause(asInvalid(err))
	return v
}

func (k *keys) bool(name string, def bool) bool {
	v, err := gguf.Or(k.md.Bool(k.arch + "." + name))(def)
	refuseBecause(asInvalid(err))
	return v
}

// perLayer is a scalar for all layers or an array with one element each; def is
// for a missing key, which without it is an error. The result always has one
// element for each layer.
func (k *keys) perLayer(name string, layers int, def []int) []int {
	switch out, err := k.counts.Ints(name, 0); {
	case err == nil && len(out) == layers:
		return out
	case err == nil:
		refuseAs(ErrInvalid, "%s.%s has %d elements for %d layers", k.arch, name, len(out), layers)
	case errors.Is(err, input.ErrCount):
		refuseBecause(asInvalid(err))
	case errors.Is(err, gguf.ErrMissing) && def != nil:
		return def
	}
	out := make([]int, layers)
	n := k.needInt(name)
	for i := range out {
		out[i] = n
	}
	return out
}

func asInvalid(err error) error {
	if err == nil || errors.Is(err, ErrInvalid) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrInvalid, err)
}
