package quantize

import (
	"cmp"
	"slices"
)

// option is one way to store a tensor.
type option struct {
	bytes int64
	cost  float64 // at least 0
}

// allocate picks an option of each item so that their bytes are at most budget and their
// costs add up to the least that there is, or for very many items to little more. bound
// is a sum that no choice goes below. It fails if the smallest options are too large. Among equals the earlier one wins, so
// the same input gives the same choice.
//
// It walks down the convex hulls of all items at once, steepest step first, which is the
// best there is for the sizes that it passes; what is left over is then filled by single
// steps and by exchanges between two items. That is nearly the best, and so good a start
// for the exact search that this has little to do.
func allocate(items [][]option, budget int64) (choice []int, bound float64, ok bool) {
	a := &allocation{items: make([][]ranked, len(items)), at: make([]int, len(items)), left: budget}
	for i, options := range items {
		a.items[i] = useful(options)
		a.left -= a.items[i][0].bytes
	}
	if a.left < 0 {
		return nil, 0, false
	}
	bound = a.descend()
	for a.fill() || a.exchange() {
	}
	a.improve(budget)
	choice = make([]int, len(items))
	cost := 0.0
	for i, at := range a.at {
		choice[i] = a.items[i][at].index
		cost += a.items[i][at].cost
	}
	return choice, min(bound, cost), true
}

// ranked is an option with its place in the caller's list.
type ranked struct {
	option
	index int
}

// useful are the options that no other one beats in both bytes and cost, in order of
// ascending bytes and descending cost.
func useful(options []option) []ranked {
	all := make([]ranked, len(options))
	for i, o := range options {
		all[i] = ranked{o, i}
	}
	slices.SortStableFunc(all, func(a, b ranked) int {
		return cmp.Or(cmp.Compare(a.bytes, b.bytes), cmp.Compare(a.cost, b.cost))
	})
	kept := all[:1]
	for _, o := range all[1:] {
		if o.cost < kept[len(kept)-1].cost {
			kept = append(kept, o)
		}
	}
	return kept
}

// allocation is a choice in the making: at is where each item is in its list.
type allocation struct {
	items [][]ranked
	at    []int
	left  int64 // bytes of the budget
}

// step takes an item from one option to a larger one.
type step struct {
	item, from, to int
	bytes          int64
	gain           float64 // of cost
}

// bySlope sorts the steepest step to the front.
func bySlope(a, b step) int {
	return cmp.Compare(b.gain/float64(b.bytes), a.gain/float64(a.bytes))
}

func (a *allocation) stepTo(item, to int) step {
	from := a.at[item]
	o, n := a.items[item][from], a.items[item][to]
	return step{item, from, to, n.bytes - o.bytes, o.cost - n.cost}
}

func (a *allocation) take(s step) {
	a.at[s.item] = s.to
	a.left -= s.bytes
}

// descend takes the steps along the hulls, as long as they fit, and returns the cost
// that fractions of a step would reach, a lower bound of any choice.
func (a *allocation) descend() (bound float64) {
	var steps []step
	for i := range a.items {
		bound += a.items[i][0].cost
		steps = append(steps, a.hull(i)...)
	}
	slices.SortStableFunc(steps, bySlope)
	left, full := float64(a.left), false
	for _, s := range steps {
		part := min(1, left/float64(s.bytes))
		bound -= float64(part * s.gain)
		left -= float64(part * float64(s.bytes))
		if full = full || s.bytes > a.left; !full {
			a.take(s)
		}
	}
	return max(0, bound)
}

// hull lists the steps of an item from corner to corner of its lower convex hull.
func (a *allocation) hull(item int) (steps []step) {
	options := a.items[item]
	for from := 0; from < len(options)-1; {
		best, slope := 0, -1.0
		for to := from + 1; to < len(options); to++ {
			s := (options[from].cost - options[to].cost) / float64(options[to].bytes-options[from].bytes)
			if s >= slope {
				best, slope = to, s
			}
		}
		o, n := options[from], options[best]
		steps = append(steps, step{item, from, best, n.bytes - o.bytes, o.cost - n.cost})
		from = best
	}
	return steps
}

// fill takes the single step of the largest gain that fits, if there is one.
func (a *allocation) fill() bool {
	var best step
	for i, options := range a.items {
		for to := a.at[i] + 1; to < len(options); to++ {
			if s := a.stepTo(i, to); s.bytes <= a.left && s.gain > best.gain {
				best = s
			}
		}
	}
	if best.gain > 0 {
		a.take(best)
	}
	return best.gain > 0
}

// exchange takes one item a step back for another's step ahead where that gains most,
// if anything.
func (a *allocation) exchange() bool {
	ahead := a.bestWithin()
	var back, forth step
	for i := range a.items {
		for to := range a.at[i] {
			s := a.stepTo(i, to)
			n, _ := slices.BinarySearchFunc(ahead, a.left-s.bytes, func(p twoSteps, bytes int64) int {
				if p.bytes <= bytes {
					return -1
				}
				return 1
			})
			if n == 0 {
				continue
			}
			f := ahead[n-1].first
			if f.item == i {
				f = ahead[n-1].second
			}
			if f.gain > 0 && f.gain+s.gain > back.gain+forth.gain && worthwhile(f.gain, s.gain) {
				back, forth = s, f
			}
		}
	}
	if forth.gain <= 0 {
		return false
	}
	a.take(back)
	a.take(forth)
	return true
}

// worthwhile keeps rounding from passing for a gain, which might go on for ever.
func worthwhile(gain, loss float64) bool { return gain+loss > 1e-12*gain }

// twoSteps are the steps of the largest gain of two different items among those of at
// most so many bytes.
type twoSteps struct {
	bytes         int64
	first, second step
}

// bestWithin lists, in order of bytes, the best steps within them.
func (a *allocation) bestWithin() []twoSteps {
	var steps []step
	for i, options := range a.items {
		for to := a.at[i] + 1; to < len(options); to++ {
			steps = append(steps, a.stepTo(i, to))
		}
	}
	slices.SortStableFunc(steps, func(x, y step) int { return cmp.Compare(x.bytes, y.bytes) })
	list := make([]twoSteps, len(steps))
	var p twoSteps
	for n, s := range steps {
		p.bytes = s.bytes
		switch {
		case s.gain <= p.second.gain:
		case s.item == p.first.item && p.first.gain > 0:
			if s.gain > p.first.gain {
				p.first = s
			}
		case s.gain > p.first.gain:
			p.first, p.second = s, p.first
		default:
			p.second = s
		}
		list[n] = p
	}
	return list
}
