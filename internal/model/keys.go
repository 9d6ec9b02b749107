package model

import (
	"errors"
	"fmt"
	"math"

	"qtool/gguf"
)

// keys reads an architecture's metadata and keeps the first error.
type keys struct {
	md   *gguf.Metadata
	arch string
	err  error
}

func (k *keys) fail(err error) {
	if k.err == nil && err != nil {
		k.err = err
	}
}

// needInt is a required positive integer.
func (k *keys) needInt(name string) int {
	n, err := k.md.Int(k.arch + "." + name)
	if err == nil && (n <= 0 || n > 1<<31-1) {
		err = fmt.Errorf("%w: %s.%s is %d", ErrInvalid, k.arch, name, n)
	}
	k.fail(asInvalid(err))
	return n
}

// int is an optional non-negative integer.
func (k *keys) int(name string, def int) int {
	n, err := gguf.Or(k.md.Int(k.arch + "." + name))(def)
	if err == nil && (n < 0 || n > 1<<31-1) {
		err = fmt.Errorf("%w: %s.%s is %d", ErrInvalid, k.arch, name, n)
	}
	k.fail(asInvalid(err))
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
		if err == nil && (math.IsNaN(v) || math.IsInf(v, 0)) {
			err = fmt.Errorf("%w: %s.%s is %g", ErrInvalid, k.arch, name, v)
		}
		k.fail(asInvalid(err))
		return v
	}
}

func (k *keys) string(name, def string) string {
	v, err := gguf.Or(k.md.Str(k.arch + "." + name))(def)
	k.fail(asInvalid(err))
	return v
}

func (k *keys) bool(name string, def bool) bool {
	v, err := gguf.Or(k.md.Bool(k.arch + "." + name))(def)
	k.fail(asInvalid(err))
	return v
}

// perLayer is a scalar for all layers or an array with one element each; def is
// for a missing key, which without it is an error. The result always has one
// element for each layer.
func (k *keys) perLayer(name string, layers int, def []int) []int {
	full := k.arch + "." + name
	switch out, err := k.md.Ints(full); {
	case err == nil && len(out) == layers:
		return out
	case err == nil:
		k.fail(fmt.Errorf("%w: %s has %d elements for %d layers", ErrInvalid, full, len(out), layers))
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
