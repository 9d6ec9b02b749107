package quantize

import (
	"cmp"
	"math"
	"slices"
	"sort"
)

// maxStates bounds the work and the memory of the exact search, 32 bytes each.
const maxStates = 1 << 20

// state is a choice for the first items: its bytes and cost, and where it came from.
type state struct {
	bytes  int64
	cost   float64
	parent int32 // among the states of one item less
	at     int32
}

// improve finds the best choice of all, item by item: of the states that no other beats
// in bytes and cost, those go on whose cost with the least that the other items can cost
// stays below that of the choice at hand. It leaves a as it is if that is the best, or
// if there are too many states.
func (a *allocation) improve(budget int64) {
	best := 0.0
	for i, at := range a.at {
		best += a.items[i][at].cost
	}
	rest, ok := a.suffixBounds()
	if !ok {
		return
	}
	levels := [][]state{{{}}}
	count := 1
	for i, options := range a.items {
		var next []state
		for parent, s := range levels[i] {
			for at, o := range options {
				n := state{s.bytes + o.bytes, s.cost + o.cost, int32(parent), int32(at)}
				if n.cost+rest[i+1].cost(budget-n.bytes) < best*(1-1e-12) {
					next = append(next, n)
				}
			}
			if len(next) > 2*maxStates {
				return
			}
		}
		next = undominated(next)
		if count += len(next); count > maxStates || len(next) == 0 {
			return
		}
		levels = append(levels, next)
	}
	last := len(levels) - 1
	s := levels[last][len(levels[last])-1] // the largest costs least
	a.left = budget - s.bytes
	for i := last - 1; i >= 0; i-- {
		a.at[i] = int(s.at)
		s = levels[i][s.parent]
	}
}

// undominated sorts states by bytes and keeps those of descending cost.
func undominated(states []state) []state {
	slices.SortFunc(states, func(a, b state) int {
		return cmp.Or(cmp.Compare(a.bytes, b.bytes), cmp.Compare(a.cost, b.cost), cmp.Compare(a.parent, b.parent), cmp.Compare(a.at, b.at))
	})
	kept := states[:0]
	for _, s := range states {
		if len(kept) == 0 || s.cost < kept[len(kept)-1].cost {
			kept = append(kept, s)
		}
	}
	return kept
}

// costBound is the least cost of some items by bytes, if steps could be taken in part:
// convex, and linear between corners.
type costBound struct {
	bytes []int64 // of the corners, ascending
	costs []float64
}

// cost is infinite where the bytes do not suffice.
func (b *costBound) cost(bytes int64) float64 {
	n := sort.Search(len(b.bytes), func(i int) bool { return b.bytes[i] > bytes })
	switch n {
	case 0:
		return math.Inf(1)
	case len(b.bytes):
		return b.costs[n-1]
	}
	part := float64(bytes-b.bytes[n-1]) / float64(b.bytes[n]-b.bytes[n-1])
	return b.costs[n-1] - float64(part*(b.costs[n-1]-b.costs[n]))
}

// suffixBounds are the bounds of the items from each one on; the last is of none. It
// gives up on so many items that they would take too much memory.
func (a *allocation) suffixBounds() (bounds []costBound, ok bool) {
	var steps []step
	for i := range a.items {
		steps = append(steps, a.hull(i)...)
	}
	if len(steps)*len(a.items) > 4*maxStates {
		return nil, false
	}
	slices.SortStableFunc(steps, bySlope)
	bounds = make([]costBound, len(a.items)+1)
	for i := range bounds {
		b := &bounds[i]
		var bytes int64
		var cost float64
		for _, options := range a.items[i:] {
			bytes += options[0].bytes
			cost += options[0].cost
		}
		b.bytes, b.costs = append(b.bytes, bytes), append(b.costs, cost)
		for _, s := range steps {
			if s.item >= i {
				bytes, cost = bytes+s.bytes, cost-s.gain
				b.bytes, b.costs = append(b.bytes, bytes), append(b.costs, cost)
			}
		}
	}
	return bounds, true
}
