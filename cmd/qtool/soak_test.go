package main

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"
)

// soak runs round after round: a few with seeds that are always the same, or for as long
// as QTOOL_SOAK says (as in QTOOL_SOAK=30m) with seeds that were never used. QTOOL_SEED is
// the seed of the first round, to see one again.
func soak(t *testing.T, few int, round func(t *testing.T, rng *rand.Rand)) {
	t.Helper()
	seed, end := uint64(1), time.Time{}
	if text := os.Getenv("QTOOL_SOAK"); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil {
			t.Fatalf("QTOOL_SOAK: %v", err)
		}
		seed, end = uint64(time.Now().UnixNano()), time.Now().Add(d)
	} else if testing.Short() {
		few = 1
	}
	if text := os.Getenv("QTOOL_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("QTOOL_SEED: %v", err)
		}
	}
	start, rounds := time.Now(), 0
	for ; rounds < few || time.Now().Before(end); rounds++ {
		round(t, rand.New(rand.NewPCG(seed, 0)))
		if t.Failed() {
			t.Fatalf("failed with QTOOL_SEED=%d", seed)
		}
		seed++
	}
	t.Logf("%d rounds in %v", rounds, time.Since(start).Round(time.Second))
}
