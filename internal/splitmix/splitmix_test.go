package splitmix

import "testing"

// The generator adds the same number each time before it mixes, so that Mix of its states is
// its output: the first ones for the seed 1234567 stand in several implementations.
func TestMixGivesTheNumbersOfTheGenerator(t *testing.T) {
	state := uint64(1234567)
	for i, want := range []uint64{6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821} {
		if got := Mix(state); got != want {
			t.Errorf("number %d is %d, want %d", i, got, want)
		}
		state += 0x9e3779b97f4a7c15
	}
}
