package nn

// Load counts how often a router chose each expert.
type Load struct {
	Chosen []int64 // by expert; identity experts come last
	Tokens int64
	// Unrecorded counts the passes that are not recorded instead of those that
	// are. A block that is computed again is recorded once.
	Unrecorded bool
}

func (l *Load) add(chosen []int32, tokens, experts int) {
	if len(l.Chosen) == 0 {
		l.Chosen = make([]int64, experts)
	}
	for _, e := range chosen {
		l.Chosen[e]++
	}
	l.Tokens += int64(tokens)
}

// Clear sets all counts to zero.
func (l *Load) Clear() {
	clear(l.Chosen)
	l.Tokens = 0
}
