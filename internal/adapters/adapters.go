// Package adapters runs a model with several adapters at once, each at a strength of its own
// that can be changed while the model is loaded, and tells on which base an adapter was trained.
// It never opens models and never prints.
package adapters

import (
	"fmt"
	"math"

	"qtool/gguf"
	"qtool/internal/adapt"
	"qtool/internal/model"
	"qtool/internal/usage"
	"qtool/lora"
)

// Adapter is an adapter file and the strength with which a model runs with it: its pairs change
// the weights by Strength·scale·B·A. At strength 0 it has no part in what is computed.
type Adapter struct {
	Path     string
	Strength float32

	pairs *adapt.Adapter
}

// Open reads an adapter file.
func Open(path string, strength float32) (*Adapter, error) {
	if err := CheckStrength(strength); err != nil {
		return nil, err
	}
	pairs, err := adapt.Open(path)
	if err != nil {
		return nil, fmt.Errorf("adapter: %w", err)
	}
	return &Adapter{path, strength, pairs}, nil
}

// CheckStrength refuses what is no number.
func CheckStrength(s float32) error {
	if v := float64(s); math.IsNaN(v) || math.IsInf(v, 0) {
		return usage.Errorf("the strength of an adapter is a number, such as 0.5, and not %g", v)
	}
	return nil
}

// Metadata are the keys of the file that are not about its pairs.
func (a *Adapter) Metadata() *gguf.Metadata { return a.pairs.Extra }

// Set is the adapters of a decoder.
type Set struct {
	List []*Adapter // not to be changed

	decoder *model.Decoder
}

// Attach binds adapters to d at their strengths. It fails with [adapt.ErrMismatch] if one does
// not fit, also one of strength 0; d then has no pairs.
func Attach(d *model.Decoder, list ...*Adapter) (*Set, error) {
	for _, a := range list {
		if err := a.pairs.Attach(d); err != nil {
			adapt.Detach(d)
			return nil, fmt.Errorf("adapter %s: %w", a.Path, err)
		}
	}
	s := &Set{list, d}
	return s, s.Apply()
}

// Apply binds the pairs of all adapters at the strengths that they have now, in place of those bound before. What
// was computed with others, such as a cache, is of no use any more.
//
// Adapters of strength 0 are left out, so that the logits are bit for bit those without them. A
// weight that several adapters change gets one pair, with their ranks behind each other.
func (s *Set) Apply() error {
	var active []*Adapter
	for _, a := range s.List {
		if a.Strength != 0 {
			active = append(active, a)
		}
	}
	adapt.Detach(s.decoder)
	switch len(active) {
	case 0:
		return nil
	case 1:
		return active[0].bind(s.decoder)
	}
	joined, err := join(active)
	if err == nil {
		err = joined.Attach(s.decoder)
	}
	if err != nil {
		return fmt.Errorf("%d adapters together: %w", len(active), err)
	}
	return nil
}

// bind binds the pairs of one adapter.
func (a *Adapter) bind(d *model.Decoder) error {
	if err := a.pairs.Attach(d); err != nil {
		return fmt.Errorf("adapter %s: %w", a.Path, err)
	}
	for _, p := range a.pairs.Pairs {
		p.LoRAPair.Scale *= a.Strength
	}
	return nil
}

// join makes one adapter of several.
func join(list []*Adapter) (*adapt.Adapter, error) {
	var scaled []lora.Scaled
	for _, a := range list {
		public, err := lora.FromModel(a.pairs.Model())
		if err != nil {
			return nil, err
		}
		scaled = append(scaled, lora.Scaled{Adapter: public, Strength: a.Strength})
	}
	all, err := lora.Combine(scaled...)
	if err != nil {
		return nil, err
	}
	m, err := all.Model()
	if err != nil {
		return nil, err
	}
	return adapt.FromModel(m)
}
