package memory

import "testing"

func TestTheLimitThatLacksTheMostIsTold(t *testing.T) {
	limits := Limits{{Machine, 100}, {Group, 50}, {Address, 70}, {Resident, 60}}
	for _, c := range []struct {
		need Need
		kind Kind
		ok   bool
	}{
		{Need{Own: 50}, 0, false},
		{Need{Own: 51}, Group, true},
		{Need{Own: 150}, Group, true},
		{Need{Own: 40, Addresses: 30}, 0, false},
		{Need{Own: 40, Addresses: 31}, Address, true}, // mapped files need no memory
		{Need{Own: 40, Addresses: 1 << 40, Pages: 20}, Address, true},
		{Need{Own: 40, Pages: 21}, Resident, true},
	} {
		if l, ok := limits.Short(c.need); ok != c.ok || l.Kind != c.kind {
			t.Errorf("%+v: %+v, %v", c.need, l, ok)
		}
	}
	if _, ok := (Limits)(nil).Short(Need{Own: 1 << 60}); ok {
		t.Error("where nothing is known, something is too much")
	}
}
