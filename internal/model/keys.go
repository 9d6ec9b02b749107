package model

import (
	"errors"
	"fmt"
	"math"

	"qtool/gguf"
	"qtool/internal/arch"
)

// keys reads an architecture's metadata. What it returns was read and is possible; a key
// that is not ends the loading, see [refusal].
type keys struct {
	md     *gguf.Metadata
	counts *arch.Counts
	arch   string
	row    *arch.Row
}

func newKeys(src gguf.Model, row *arch.Row) *keys {
	return &keys{src.Metadata(), arch.CountsOf(src, row.Name), row.Name, row}
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

// perLayer is a count of each layer, see [arch.Counts.PerLayer]; def is for a missing key,
// which without it is an error.
func (k *keys) perLayer(name string, layers int, def []int) []int {
	if !k.md.Has(k.arch+"."+name) && def != nil {
		return def
	}
	n, err := k.counts.PerLayer(name, layers, 1)
	refuseBecause(asInvalid(err))
	return n
}

func asInvalid(err error) error {
	if err == nil || errors.Is(err, ErrInvalid) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrInvalid, err)
}
