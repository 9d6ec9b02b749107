package model

import (
	"errors"
	"fmt"

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
	v, err := k.md.Float(k.arch + "." + name)
	k.fail(asInvalid(err))
	return v
}

func (k *keys) float(name string, def float64) float64 {
	v, err := gguf.Or(k.md.Float(k.arch + "." + name))(def)
	k.fail(asInvalid(err))
	return v
}

func (k *keys) string(name, def string) string {
	v, err := gguf.Or(k.md.Str(k.arch + "." + name))(def)
	k.fail(asInvalid(err))
	return v
}

// perLayer is a scalar for all layers or an array with one element each.
func (k *keys) perLayer(name string, layers, def int) []int {
	full := k.arch + "." + name
	out, err := k.md.Ints(full)
	if err == nil && len(out) != layers {
		k.fail(fmt.Errorf("%w: %s has %d elements for %d layers", ErrInvalid, full, len(out), layers))
	}
	if err != nil {
		n := k.int(name, def)
		out = make([]int, min(layers, 1<<16))
		for i := range out {
			out[i] = n
		}
	}
	return out
}

func asInvalid(err error) error {
	if err == nil || errors.Is(err, ErrInvalid) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrInvalid, err)
}
