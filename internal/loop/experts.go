package loop

import (
	"context"
	"fmt"
	"math"
	"slices"

	"qtool/internal/dataset"
	"qtool/internal/kernel/product"
	"qtool/internal/model"
	"qtool/internal/nn"
)

// ExpertLoads lists the loads by layer; there are none without experts.
func (r *Run) ExpertLoads() []ExpertLoad {
	var out []ExpertLoad
	for _, router := range r.Decoder.Routers() {
		if router.Load.Tokens > 0 {
			out = append(out, newExpertLoad(router.Layer, router.Load))
		}
	}
	return out
}

func newExpertLoad(layer int, load *nn.Load) ExpertLoad {
	l := ExpertLoad{Layer: layer, Tokens: load.Tokens}
	var all float64
	for _, n := range load.Chosen {
		all += float64(n)
	}
	for _, n := range load.Chosen {
		l.Share = append(l.Share, float64(n)/float64(load.Tokens))
		if n == 0 {
			l.NeverRouted++
			continue
		}
		p := float64(n) / all
		l.Entropy -= p * math.Log(p)
	}
	if experts := len(load.Chosen); experts > 1 {
		l.Entropy /= math.Log(float64(experts))
	}
	return l
}

// routingTokens bounds on how many tokens routing is measured.
const routingTokens = 1 << 15

// RoutingSample is some of rows, spread evenly, to measure routing on.
func RoutingSample(rows []dataset.Row) (sample []dataset.Row) {
	_, tokens := countScored(rows)
	for i := 0; i < len(rows); i += 1 + tokens/routingTokens {
		sample = append(sample, rows[i])
	}
	return sample
}

// MeasureRouting counts how often each router of d chooses each expert on rows, by
// layer. progress gets the rows done so far.
func MeasureRouting(ctx context.Context, d *model.Decoder, rows []dataset.Row, pool *product.Pool, progress func(done int)) (map[int][]int64, error) {
	for _, r := range d.Routers() {
		r.Load.Clear()
		r.Load.Unrecorded = true
		defer func() { *r.Load = nn.Load{} }()
	}
	l := newLearner(d, nil, pool, &Config{})
	for i := range rows {
		err := pool.Within(ctx, func() error {
			l.set(rows[i : i+1])
			l.tape.Reset(false)
			d.Hidden(l.tape, &l.batch, nil, false)
			return nil
		})
		if err != nil {
			return nil, err
		}
		progress(i + 1)
	}
	chosen := map[int][]int64{}
	for _, r := range d.Routers() {
		chosen[r.Layer] = r.Load.Chosen
	}
	return chosen, nil
}

// loadCounts is a copy of what the routers have counted, one after the other.
type loadCounts []routerCount

type routerCount struct {
	Layer  int     `json:"layer"`
	Tokens int64   `json:"tokens"`
	Chosen []int64 `json:"chosen"` // by expert; none before the first pass
}

// capture copies the counts of d as they are.
func (c *loadCounts) capture(d *model.Decoder) {
	routers := d.Routers()
	if *c == nil {
		*c = make(loadCounts, len(routers))
	}
	for i, r := range routers {
		at := &(*c)[i]
		at.Layer, at.Tokens, at.Chosen = r.Layer, r.Load.Tokens, append(at.Chosen[:0], r.Load.Chosen...)
	}
}

// restore puts the counts back.
func (c loadCounts) restore(d *model.Decoder) {
	for i, r := range d.Routers() {
		r.Load.Tokens, r.Load.Chosen = c[i].Tokens, append(r.Load.Chosen[:0], c[i].Chosen...)
	}
}

// check makes sure that counts which were read from a file are those of d.
func (c loadCounts) check(d *model.Decoder) error {
	routers, experts := d.Routers(), d.Experts+d.Config.Router.Identity
	if len(c) != len(routers) {
		return fmt.Errorf("it counts the experts of %d layers, the base has %d with experts", len(c), len(routers))
	}
	for i, r := range c {
		bad := r.Tokens < 0 || slices.ContainsFunc(r.Chosen, func(n int64) bool { return n < 0 || n > r.Tokens })
		if bad || r.Layer != routers[i].Layer || len(r.Chosen) != experts && (len(r.Chosen) > 0 || r.Tokens > 0) {
			return fmt.Errorf("its counts of the experts of layer %d make no sense", r.Layer)
		}
	}
	return nil
}

// reportExperts is the last event of a run on experts.
func (r *Run) reportExperts() error {
	loads := r.ExpertLoads()
	if loads == nil {
		return nil
	}
	return r.report(Event{Type: ExpertsEvent, Step: r.step, Experts: loads})
}

// routerLosses are the auxiliary losses of the routers: of a step the mean over
// its batches, weighed by their tokens.
type routerLosses struct {
	balance, z         float64 // coefficients; 0 is off
	stepTokens         int     // of the step at hand; 0: of the batch
	batch              nn.RouterLoss
	meanBalance, meanZ float64 // per router, so far in the step
}

func (l *routerLosses) on() bool { return l.balance > 0 || l.z > 0 }

// begin starts a step of some number of tokens.
func (l *routerLosses) begin(tokens int) { l.stepTokens, l.meanBalance, l.meanZ = tokens, 0, 0 }

// share is the part of the step that rows are.
func (l *routerLosses) share(rows []dataset.Row) float64 {
	if l.stepTokens == 0 {
		return 1
	}
	_, tokens := countScored(rows)
	return float64(tokens) / float64(l.stepTokens)
}

// beginBatch has the tape add the losses of a batch.
func (l *routerLosses) beginBatch(t *nn.Tape, share float64) {
	l.batch = nn.RouterLoss{Balance: l.balance * share, Z: l.z * share}
	t.RouterLoss = &l.batch
}

func (l *routerLosses) endBatch(t *nn.Tape, share float64) {
	t.RouterLoss = nil
	if n := float64(l.batch.Routers); n > 0 {
		l.meanBalance += share * l.batch.BalanceSum / n
		l.meanZ += share * l.batch.ZSum / n
	}
}
