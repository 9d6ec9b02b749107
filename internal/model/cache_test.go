package model

import (
	"testing"

	"qtool/fixtures"
	"qtool/gguf"
	"qtool/internal/arch"
)

// summed is the state of a layer that sums up all tokens, and has no way back.
type summed struct{ resets int }

func (s *summed) reset()          { s.resets++ }
func (s *summed) rewind(int) bool { return false }
func (s *summed) bytes() int64    { return 4 }

func TestALayerWithoutAWayBackMakesTheCacheBeginAgain(t *testing.T) {
	var s summed
	c := &Cache{length: 5, layers: []layerState{&keyValues{}, nil, &s}}
	if left := c.Rewind(7); left != 5 || c.Len() != 5 || s.resets != 0 {
		t.Errorf("%d tokens are left after nothing was forgotten", left)
	}
	if left := c.Rewind(3); left != 0 || c.Len() != 0 || s.resets != 1 {
		t.Errorf("%d tokens are left, %d resets", left, s.resets)
	}
	if n := c.Bytes(); n != 4 {
		t.Errorf("%d bytes", n)
	}
	c = &Cache{length: 5, layers: []layerState{&keyValues{}, nil}}
	if left := c.Rewind(3); left != 3 || c.Len() != 3 {
		t.Errorf("%d tokens are left of attention", left)
	}
}

func TestEveryKindOfLayerIsBound(t *testing.T) {
	for _, row := range arch.All() {
		for l := range 4 {
			kind := row.Layer(&arch.Sizes{Experts: 2, LeadingDense: 1}, l)
			if mixers[kind.Mixer] == nil || !row.Has(kind.Mixer) {
				t.Errorf("%s: layer %d has mixer %d, the row has %v", row.Name, l, kind.Mixer, row.Mixers)
			}
		}
	}
}

// The layers of a model may be of different kinds.
func TestLayersMayAlternateTheirKinds(t *testing.T) {
	row := *arch.Find("llama")
	row.LayerRule = func(s *arch.Sizes, l int) arch.Layer {
		kind := arch.Layer{Mixer: arch.Attention}
		if l%2 == 1 && s.Experts > 0 {
			kind.FeedForward = arch.Experts
		}
		return kind
	}
	dense, experts := fixtures.TinyLlama(1, fixtures.Shape{Untied: true}), fixtures.TinyLlama(1, fixtures.Shape{Experts: 4, Untied: true})
	var tensors []*gguf.Tensor
	for _, x := range dense.Tensors() {
		if arch.LayerOf(x.Name) != 1 {
			tensors = append(tensors, x)
		}
	}
	for _, x := range experts.Tensors() {
		if arch.LayerOf(x.Name) == 1 {
			tensors = append(tensors, x)
		}
	}
	m := gguf.Assemble(experts.Metadata(), tensors)
	d, err := load(m, &architecture{&row, configurations["llama"], activations[row.Activation]}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := d.blocks[0].layers[0].feedForward.(*denseFFN); !ok {
		t.Error("layer 0 has experts")
	}
	if _, ok := d.blocks[1].layers[0].feedForward.(*expertFFN); !ok {
		t.Error("layer 1 has none")
	}
	for l, p := range d.sections()[:2] {
		if len(p.experts) != 4*l {
			t.Errorf("%d experts of layer %d are kept in memory by choice", len(p.experts), l)
		}
	}
}
