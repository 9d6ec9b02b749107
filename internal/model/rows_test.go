package model

import (
	"testing"

	"qtool/internal/arch"
)

func TestTheDecoderKnowsWhatRowsSay(t *testing.T) {
	for _, row := range arch.All() {
		if _, ok := activations[row.Activation]; !ok {
			t.Errorf("%s: activation %d", row.Name, row.Activation)
		}
		if _, ok := pairings[row.Rotation]; !ok {
			t.Errorf("%s: rotation %d", row.Name, row.Rotation)
		}
		if row.Experts && configurations[row.Name] == nil {
			t.Errorf("%s has experts, and nothing says how tokens choose them", row.Name)
		}
	}
	for name := range configurations {
		if arch.Find(name) == nil {
			t.Errorf("%s has no row", name)
		}
	}
}
