package convert

import "testing"

func TestEveryFamilyHasARowAndASourceForEachOfItsNorms(t *testing.T) {
	for _, f := range all {
		row := f.row()
		if row == nil {
			t.Errorf("%v become %q, which has no row", f.names, f.arch)
			continue
		}
		sources := f.norms
		if sources == nil {
			sources = usualNorms
		}
		if want := row.Norms.Names(); len(sources) != len(want) {
			t.Errorf("%s: sources %v for the norms %v", f.arch, sources, want)
		}
		if _, ok := activations[row.Activation]; !ok {
			t.Errorf("%s: its activation has no name in config.json", f.arch)
		}
		if row.Experts && f.experts == nil && f.addExperts == nil {
			t.Errorf("%s: nothing says where its experts are", f.arch)
		}
	}
}
