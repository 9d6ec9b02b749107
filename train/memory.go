package train

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"

	"qtool/internal/adapt"
	"qtool/internal/budget"
	"qtool/internal/infer"
	"qtool/internal/kernel/product"
	"qtool/internal/loop"
	"qtool/internal/memory"
	"qtool/internal/nn"
	"qtool/internal/printable"
	"qtool/internal/usage"
)

// newBudget is the memory that there is, or that --max-resident allows.
func (f *tuning) newBudget() *budget.Budget {
	b := budget.New("finetune", f.Force, func(text string) { f.note("%s", text) })
	if f.MaxResident > 0 {
		b.Allow(f.MaxResident)
	}
	return b
}

// checkLoading refuses a base that cannot be loaded.
func (f *tuning) checkLoading() error {
	switch {
	case f.planOnly || f.Model == "" && f.Base == nil: // nothing of it is read, or it is in memory
		return nil
	case f.Full == "":
		return f.budget.CheckLoading(f.base, f.report.Model)
	}
	var weights int64
	for _, t := range f.base.Tensors() {
		weights += int64(t.Elements())
	}
	d := budget.Demand{Need: memory.Need{Own: loop.BytesPerWeight(&f.Config) * weights}, Of: "training all weights of " + f.report.Model}
	if f.budget.Fits(d) {
		return nil
	}
	return f.budget.TooSmall(d, "an adapter takes less: give --adapter in place of --full")
}

// checkMemory refuses a run that does not fit, before anything is made for it.
func (f *tuning) checkMemory(context.Context) error {
	p := f.planner()
	d, err := p.plan(p.asked)
	if err != nil || f.budget.Fits(d) {
		return err
	}
	p.beside(memory.Held())
	if d, err = p.plan(p.asked); err != nil || f.budget.Fits(d) {
		return err
	}
	return f.budget.TooSmall(d, p.advice(d))
}

// planner finds what a run would take if it were changed, without taking it.
type planner struct {
	f       *tuning
	program int64 // what the program takes beside the run, garbage included at first
	asked   variant
	used    bool // there was a rehearsal
}

func (f *tuning) planner() *planner {
	p := &planner{f: f, program: f.budget.Held, asked: variant{f.Config.Checkpointing, f.Config.Batch, f.Config.GradAccum, f.Seq, f.Truncate, f.Rank, f.Targets}}
	if f.planOnly {
		return p
	}
	p.asked.batch = min(p.asked.batch, len(f.rows)) // as the run does
	p.beside(memory.HeldNow())
	return p
}

// beside takes what the program holds as a whole, in place of what it held before.
func (p *planner) beside(held int64) {
	p.program = held - p.f.decoder.CopiedBytes()
	for _, param := range p.f.params() {
		p.program -= 4 * int64(len(param.Data))
	}
}

// variant is what can be changed of a run so that it takes less memory.
type variant struct {
	checkpointing         bool
	batch, gradAccum, seq int
	truncate              bool
	rank                  int
	targets               []string
}

// flags are those that make v of the run that the user asked for.
func (v *variant) flags(asked *variant) string {
	var flags []string
	add := func(changed bool, format string, args ...any) {
		if changed {
			flags = append(flags, fmt.Sprintf(format, args...))
		}
	}
	add(v.checkpointing != asked.checkpointing, "--checkpointing")
	add(v.batch != asked.batch, "--batch %d", v.batch)
	add(v.gradAccum != asked.gradAccum, "--grad-accum %d", v.gradAccum)
	add(v.seq != asked.seq, "--seq %d", v.seq)
	add(v.truncate != asked.truncate, "--truncate")
	add(v.rank != asked.rank, "--rank %d", v.rank)
	add(!slices.Equal(v.targets, asked.targets), "--targets %s", strings.Join(v.targets, ","))
	return strings.Join(flags, " ")
}

// plan predicts what a variant takes. Where its batches are so large that even going
// through them without computing takes more than there is, they are taken to need as
// much more than small ones as they have more rows.
func (p *planner) plan(v variant) (budget.Demand, error) {
	d, err := p.rehearse(v)
	if err != nil || !d.AtLeast {
		return d, err
	}
	var last error
	of := func(batch int) budget.Demand {
		smaller := v
		smaller.batch = batch
		d, err := p.rehearse(smaller)
		if err != nil {
			last = err
		}
		return d
	}
	batches := budget.Halves(v.batch, 1)
	i := budget.FirstThatFits(len(batches), func(i int) bool { return !of(batches[i]).AtLeast })
	if last != nil || i+1 >= len(batches) {
		return d, last
	}
	large, small := of(batches[i]), of(batches[i+1])
	rows, more := int64(batches[i]-batches[i+1]), int64(v.batch-batches[i])
	large.Own += (large.Own - small.Own) / rows * more
	large.Addresses += (large.Addresses - small.Addresses) / rows * more
	return large, last
}

// rehearse is plan for batches that can be gone through.
func (p *planner) rehearse(v variant) (budget.Demand, error) {
	f, most := p.f, p.f.budget.ForRehearsals()
	if p.used {
		runtime.GC() // what variants before this one took is taken again
	}
	p.used = true
	pool := product.NewPool(f.Threads) // a fresh one: what it takes depends on the variant
	defer pool.Close()
	trained, err := p.trained(v)
	if err != nil {
		return budget.Demand{}, err
	}
	if least := loop.BytesPerWeight(&f.Config) * trained; most > 0 && least > most { // pairs too large even for blanks
		return budget.Demand{Need: memory.Need{Own: least}, AtLeast: true}, nil
	}
	params, err := p.attach(v)
	if err != nil {
		return budget.Demand{}, err
	}
	defer adapt.Detach(f.decoder)
	f.decoder.LimitMapped(f.decoder.LargestBlock()) // a rehearsal needs little of it
	defer f.decoder.LimitMapped(0)
	c := f.Config
	c.Checkpointing, c.Batch, c.GradAccum = v.checkpointing, v.batch, v.gradAccum
	if f.planOnly || v.seq != f.Seq { // rows that are full
		return p.demand(loop.NewEstimator(c, f.decoder, params, pool, v.seq, p.program, most).Memory), nil
	}
	m, err := loop.PlanMemory(loop.Setup{Config: c, Decoder: f.decoder, Params: params, Rows: f.rows, HeldOut: f.heldOut, Pool: pool}, p.program, most)
	if err != nil {
		return budget.Demand{}, err
	}
	d := p.demand(m)
	if _, ids := f.sampleTokens(); ids != nil {
		answer := infer.NewSession(f.decoder, f.tok, pool).GenerateMemory(len(ids), sampleLength, most)
		d.Own += answer.Total() - answer.Scratch // which is the pool's anyway
	}
	return d, nil
}

// multiplied is how many floating point operations a token takes, as a single row tells.
func (p *planner) multiplied() float64 {
	pool := product.NewPool(p.f.Threads)
	defer pool.Close()
	c := p.f.Config
	c.Batch, c.GradAccum = 1, 1
	return loop.NewEstimator(c, p.f.decoder, p.f.params(), pool, p.f.Seq, 0, p.f.budget.ForRehearsals()).FLOPsPerToken
}

// budget.Demand is what m takes beside what the program held when the limits were asked for.
func (p *planner) demand(m loop.Memory) budget.Demand {
	// The run may find no use for the addresses that the planning took.
	planning := m.Rehearsal + m.Scratch
	d := budget.Demand{Need: memory.Need{Own: m.Total - p.f.budget.Held, Addresses: planning}, AtLeast: m.AtLeast}
	if m.MappedBase > 0 {
		d.Pages = p.f.decoder.LargestBlock()
	}
	if p.f.planOnly {
		d.Addresses += m.MappedBase
	}
	return d
}

// fresh reports whether pairs are made, and so can be made smaller.
func (p *planner) fresh() bool { return p.f.Full == "" && p.f.Init == "" }

// trained is the number of parameters that a variant trains and that do not exist yet.
func (p *planner) trained(v variant) (int64, error) {
	if !p.fresh() {
		return 0, nil
	}
	c, err := p.pairs(v)
	if err != nil {
		return 0, err
	}
	return c.Parameters(p.f.decoder)
}

// pairs says how to make the pairs of a variant, without memory.
func (p *planner) pairs(v variant) (c adapt.Config, err error) {
	c = p.f.pairs(v.rank, v.targets)
	c.Shapes = true
	if err := c.Check(p.f.decoder); err != nil {
		return c, usage.Errorf("%v", err)
	}
	c.Experts, err = p.f.planExperts()
	return c, err
}

// attach binds the pairs of a variant to the decoder, if there are any, and returns what
// is trained.
func (p *planner) attach(v variant) ([]*nn.Param, error) {
	f := p.f
	if !p.fresh() {
		return f.params(), f.attach(f.adapter)
	}
	c, err := p.pairs(v)
	if err != nil {
		return nil, err
	}
	a, err := adapt.New(f.decoder, c)
	if err != nil {
		return nil, usage.Errorf("%v", err)
	}
	return a.Params(), f.attach(a)
}

// advice says what would fit in place of a run that does not.
func (p *planner) advice(asked budget.Demand) string {
	s := &search{planner: p, least: p.asked, leastDemand: asked}
	if s.run() {
		return fmt.Sprintf("with %s it fits (%s)", s.found.flags(&p.asked), printable.Bytes(p.f.budget.InAll(s.foundDemand)))
	}
	flags := s.least.flags(&p.asked)
	if flags == "" {
		return "none of its flags makes that less: " + budget.ModelTooLarge
	}
	return fmt.Sprintf("nor does it fit with %s, which takes %s: %s", flags, printable.Bytes(p.f.budget.InAll(s.leastDemand)), budget.ModelTooLarge)
}

// search looks for the first variant that fits, from those that change what a user wants
// least to those that change it most.
type search struct {
	*planner
	found, least             variant
	foundDemand, leastDemand budget.Demand
}

// run tries one kind of change after the other. Each but the first few goes on from the
// least that the ones before it could make.
func (s *search) run() bool {
	small := s.asked
	small.checkpointing = true
	if !s.asked.checkpointing && s.try(small) {
		return true
	}
	if s.f.Resume { // what else there is would make it another run
		return false
	}
	if !s.asked.checkpointing && s.try(s.asked.batches()...) || s.tryFrom(&small, small.batches()) || s.tryFrom(&small, s.shorter(small)) {
		return true
	}
	if !s.fresh() {
		return false
	}
	attention := small
	attention.targets = []string{"attention"}
	return s.tryFrom(&small, small.ranks()) || s.try(attention) || s.tryFrom(&attention, attention.ranks())
}

// tryFrom is try; where nothing fits, from becomes the least of the choices.
func (s *search) tryFrom(from *variant, choices []variant) bool {
	if s.try(choices...) {
		return true
	}
	if len(choices) > 0 {
		*from = choices[len(choices)-1]
	}
	return false
}

// try looks for the first of some choices that fits, of which each takes less than the one
// before it.
func (s *search) try(choices ...variant) bool {
	i := budget.FirstThatFits(len(choices), func(i int) bool {
		d, err := s.plan(choices[i])
		if err != nil { // such as targets that this model does not have
			return false
		}
		if !d.AtLeast && (s.leastDemand.AtLeast || d.Own < s.leastDemand.Own) {
			s.least, s.leastDemand = choices[i], d
		}
		return s.f.budget.Fits(d)
	})
	if i == len(choices) {
		return false
	}
	s.found = choices[i]
	s.foundDemand, _ = s.plan(s.found)
	return true
}

// batches are v with smaller batches, of which a step takes as many more.
func (v variant) batches() (smaller []variant) {
	rows := v.batch * v.gradAccum
	var divisors []int
	for n := 1; n*n <= rows; n++ {
		if rows%n == 0 {
			divisors = append(divisors, n, rows/n)
		}
	}
	slices.Sort(divisors)
	for _, batch := range slices.Backward(slices.Compact(divisors)) {
		if batch < v.batch {
			v.batch, v.gradAccum = batch, rows/batch
			smaller = append(smaller, v)
		}
	}
	return smaller
}

// shorter are v with rows of half the tokens, and so on, of which a step takes as many
// more.
func (s *search) shorter(v variant) (shorter []variant) {
	const least = 32
	for _, seq := range budget.Halves(v.seq, least) {
		v.gradAccum *= 2
		v.seq = seq
		v.truncate = v.truncate || s.f.report.Records.Longest > seq
		shorter = append(shorter, v)
	}
	return shorter
}

// ranks are v with half the rank, and so on.
func (v variant) ranks() (smaller []variant) {
	for _, rank := range budget.Halves(v.rank, 1) {
		v.rank = rank
		smaller = append(smaller, v)
	}
	return smaller
}
