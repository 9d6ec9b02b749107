package quantize

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"qtool/gguf"
	"qtool/internal/work"
)

// ErrTarget is in the chain of the error about a size that cannot be reached.
var ErrTarget = errors.New("target out of reach")

// Target is a size that a model is to have, as good as it can be.
type Target struct {
	// Bytes is the largest size of the whole file, with metadata and padding; in several
	// shards, of all together. 0 is no limit.
	Bytes int64
	// BitsPerWeight is the largest mean over all tensors, without metadata and padding. 0
	// is no limit.
	BitsPerWeight float64
	// Types are the candidates; nil is [CandidateTypes]. A tensor may always stay as it is.
	Types []gguf.Type
	// Sensitivity has, by tensor name, what is known of the effect of errors. For tensors
	// that it leaves out experience with their role counts.
	Sensitivity map[string]*Sensitivity
	// Write, unless nil, says how a plan will be written as far as that changes the size.
	Write func(*Plan) ([]gguf.WriteOption, error)
	// Progress, unless nil, gets how many of how many values were tried.
	Progress func(t *gguf.Tensor, done, total int64)
}

// DataBytes is about how many bytes of tensors the target makes of all of m, known before
// types are tried.
func (t *Target) DataBytes(m gguf.Model) int64 {
	size, elements := int64(0), 0
	for _, tensor := range m.Tensors() {
		size += tensor.Size()
		elements += tensor.Elements()
	}
	if t.BitsPerWeight > 0 {
		return min(size, int64(t.BitsPerWeight*float64(elements)/8))
	}
	return min(size, t.Bytes)
}

// CandidateTypes are the types that a target chooses from: those that the mixes use, which
// need no importance for every tensor, or all that take it.
func CandidateTypes(importance bool) []gguf.Type {
	types := []gguf.Type{
		gguf.Q2_K, gguf.Q3_K, gguf.IQ3_S, gguf.Q4_0, gguf.Q4_1, gguf.Q4_K, gguf.IQ4_NL, gguf.IQ4_XS,
		gguf.Q5_0, gguf.Q5_1, gguf.Q5_K, gguf.Q6_K, gguf.Q8_0, gguf.F16,
	}
	if importance {
		types = append(types, gguf.IQ1_S, gguf.IQ1_M, gguf.IQ2_XXS, gguf.IQ2_XS, gguf.IQ2_S, gguf.IQ3_XXS)
	}
	return types
}

// TargetReport tells how a plan meets its target.
type TargetReport struct {
	Bytes         int64   `json:"bytes,omitempty"`
	BitsPerWeight float64 `json:"bits_per_weight,omitempty"`
	FileBytes     int64   `json:"file_bytes"`     // what the file will have
	Cost          float64 `json:"estimated_cost"` // of all tensors, nats per token
	Measured      bool    `json:"measured"`       // by sensitivity, not by experience
	Bound         float64 `json:"least_cost"`     // that no choice of these types goes below
}

// String is a line.
func (r *TargetReport) String() string {
	if r == nil {
		return ""
	}
	limit := fmt.Sprintf("%d bytes", r.Bytes)
	if r.Bytes == 0 {
		limit = fmt.Sprintf("%g bits per weight", r.BitsPerWeight)
	}
	what := "estimated KL divergence"
	if !r.Measured {
		what = "cost, by the roles of tensors,"
	}
	return fmt.Sprintf("target %s: a file of %d bytes, %s %.4g\n", limit, r.FileBytes, what, r.Cost)
}

// NewTargetPlan chooses types so that the file stays within the target and the errors of
// its weights do the least harm. It tries the candidate types on rows of every tensor,
// which reads weights, unlike [NewPlan]. The types that opts ask for by tensor stay;
// opts.FileType and opts.Pure do not count. It fails as NewPlan does, and with
// [ErrTarget] if even the smallest types are too large.
func NewTargetPlan(ctx context.Context, m gguf.Model, opts Options, target Target) (*Plan, error) {
	free := map[string]bool{}
	opts.FileType, opts.Pure = "Q8_0", false
	opts.free = func(t *gguf.Tensor) gguf.Type {
		free[t.Name] = true
		return opts.storedAs(t)
	}
	p, err := NewPlan(m, opts)
	if err != nil {
		return nil, err
	}
	arch, err := readArchFacts(p.source)
	if err != nil {
		return nil, err
	}
	c := &choice{plan: p, target: target, free: free, layers: arch.layers, barred: map[gguf.Type]int{}}
	if err := c.list(); err != nil {
		return nil, err
	}
	if err := c.measure(ctx); err != nil {
		return nil, err
	}
	types, bound, err := c.decide()
	if err != nil {
		return nil, err
	}
	opts.free = func(t *gguf.Tensor) gguf.Type { return types[t.Name] }
	if p, err = NewPlan(m, opts); err != nil {
		return nil, err
	}
	if err := c.report(p, bound); err != nil {
		return nil, err
	}
	c.remark(p)
	return p, nil
}

// choice is the way from a plan with free tensors to their types.
type choice struct {
	plan   *Plan
	target Target
	free   map[string]bool
	layers int
	barred map[gguf.Type]int // tensors that lack the importance for a type that is asked for
	items  []*candidates
}

// candidates are the types that one tensor may have.
type candidates struct {
	planned   *PlannedTensor
	tensor    *gguf.Tensor
	types     []gguf.Type
	bytes     []int64
	estimates []*Estimate // nil if the only type cannot hold the weights
}

// list finds the candidates: of tensors whose type is given, that alone.
func (c *choice) list() error {
	types := c.target.Types
	if types == nil {
		types = CandidateTypes(c.plan.opts.Importance != nil)
	}
	for i := range c.plan.Tensors {
		pt := &c.plan.Tensors[i]
		t, _ := c.plan.source.Tensor(pt.Name)
		if !quantizable(t) {
			continue
		}
		item := &candidates{planned: pt, tensor: t, types: []gguf.Type{pt.To}, bytes: []int64{pt.ToBytes}}
		if c.free[pt.Name] {
			if err := item.add(c, types); err != nil {
				return err
			}
		}
		c.items = append(c.items, item)
	}
	return nil
}

// add adds the types that the plan permits and that make the tensor smaller.
func (item *candidates) add(c *choice, types []gguf.Type) error {
	t := item.tensor
	for _, to := range types {
		if to == item.planned.To || t.Shape[0]%to.BlockElements() != 0 {
			continue
		}
		bytes, err := c.plan.check(t, to)
		switch {
		case errors.Is(err, ErrNoImportance):
			c.barred[to]++
			continue
		case err != nil:
			return fmt.Errorf("tensor %q: %w", t.Name, err)
		}
		if bytes < t.Size() {
			item.types, item.bytes = append(item.types, to), append(item.bytes, bytes)
		}
	}
	return nil
}

// measure tries all candidates.
func (c *choice) measure(ctx context.Context) error {
	pool := work.NewPool(c.plan.opts.Threads)
	defer pool.Close()
	var done, total int64
	for _, item := range c.items {
		total += int64(len(sampledRows(item.tensor)) * item.tensor.Shape[0] * len(item.types))
	}
	for _, item := range c.items {
		progress := func(values int) {
			if done += int64(values); c.target.Progress != nil {
				c.target.Progress(item.tensor, done, total)
			}
		}
		if err := item.measure(ctx, c, pool, progress); err != nil {
			return err
		}
	}
	return nil
}

func (item *candidates) measure(ctx context.Context, c *choice, pool *work.Pool, progress func(int)) error {
	t := item.tensor
	importance, err := c.plan.importance(t)
	if err != nil {
		return fmt.Errorf("tensor %q: %w", t.Name, err)
	}
	s, columns := c.target.Sensitivity[c.plan.SourceName(t.Name)], importance
	if s != nil {
		if err := s.check(t); err != nil {
			return err
		}
		columns = s.Columns
	}
	r, err := newTrial(t, importance, columns)
	if err != nil {
		return err
	}
	errors, err := r.errors(ctx, pool, item.types, progress)
	if err != nil {
		return err
	}
	item.keep(r.estimates(errors, s, c.roleCost(t)))
	t.DontNeed()
	return nil
}

// keep drops the types that cannot hold the weights. If the only type cannot, writing
// the file will say so.
func (item *candidates) keep(estimates []*Estimate) {
	n := 0
	for k, e := range estimates {
		if e == nil && len(estimates) > 1 {
			continue
		}
		item.types[n], item.bytes[n] = item.types[k], item.bytes[k]
		item.estimates = append(item.estimates, e)
		n++
	}
	item.types, item.bytes = item.types[:n], item.bytes[:n]
}

// decide chooses the types of the free tensors.
func (c *choice) decide() (types map[string]gguf.Type, bound float64, err error) {
	budget, size, err := c.budget()
	if err != nil {
		return nil, 0, err
	}
	items, least, most := make([][]option, len(c.items)), int64(0), int64(0)
	for i, item := range c.items {
		for k, e := range item.estimates {
			o := option{bytes: size(item.bytes[k])}
			if e != nil {
				o.cost = e.Cost
			}
			items[i] = append(items[i], o)
		}
		ranked := useful(items[i])
		least += ranked[0].bytes
		most += ranked[len(ranked)-1].bytes
	}
	chosen, bound, ok := allocate(items, budget)
	if !ok {
		return nil, 0, c.outOfReach(least-budget, most-budget)
	}
	types = map[string]gguf.Type{}
	for i, item := range c.items {
		types[item.planned.Name] = item.types[chosen[i]]
	}
	return types, bound, nil
}

// budget is how many bytes the candidates may take, each counted by size.
func (c *choice) budget() (bytes int64, size func(int64) int64, err error) {
	chosen := map[string]bool{}
	for _, item := range c.items {
		chosen[item.planned.Name] = true
	}
	if c.target.Bytes == 0 {
		bytes = c.limitOfBits()
		for _, t := range c.plan.Tensors {
			if !chosen[t.Name] {
				bytes -= t.ToBytes
			}
		}
		return bytes, func(n int64) int64 { return n }, nil
	}
	all, err := c.target.fileSize(c.plan)
	if err != nil {
		return 0, nil, err
	}
	bytes = c.target.Bytes - all
	for _, item := range c.items {
		bytes += padded(item.planned.ToBytes)
	}
	return bytes, padded, nil
}

func (t *Target) fileSize(p *Plan) (int64, error) {
	var opts []gguf.WriteOption
	if t.Write != nil {
		var err error
		if opts, err = t.Write(p); err != nil {
			return 0, err
		}
	}
	return gguf.FileSize(p.Model(), opts...)
}

// padded is the room that a tensor takes in the file: a plan drops other alignments.
func padded(bytes int64) int64 { return (bytes + 31) / 32 * 32 }

// TargetError tells what sizes there are; it matches [ErrTarget].
type TargetError struct {
	Least, Most int64 // bytes of the file, or of the tensors for bits per weight
	text        string
}

func (e *TargetError) Error() string { return e.text }
func (e *TargetError) Unwrap() error { return ErrTarget }

// outOfReach is the error about a target from which the smallest and the largest size
// are so many bytes away.
func (c *choice) outOfReach(least, most int64) error {
	way := "allow smaller types, or take a smaller model"
	if c.wantsImportance() {
		way = "with an importance matrix smaller types are possible"
	}
	limit := c.target.Bytes
	what, show := fmt.Sprintf("a file of %d bytes is too small", limit), func(n int64) string { return fmt.Sprintf("%d bytes", n) }
	if limit == 0 {
		limit = c.limitOfBits()
		what = fmt.Sprintf("%g bits per weight are too few", c.target.BitsPerWeight)
		show = func(n int64) string { return fmt.Sprintf("%.4f", 8*float64(n)/float64(c.plan.Elements())) }
	}
	e := &TargetError{Least: limit + least, Most: limit + most}
	e.text = fmt.Sprintf("%v: %s; with these types it can have %s to %s: %s", ErrTarget, what, show(e.Least), show(e.Most), way)
	return e
}

// limitOfBits is the target's bits per weight in bytes of all tensors.
func (c *choice) limitOfBits() int64 {
	return int64(c.target.BitsPerWeight * float64(c.plan.Elements()) / 8)
}

// wantsImportance reports whether importance would add candidates.
func (c *choice) wantsImportance() bool {
	return c.plan.opts.Importance == nil && c.target.Types == nil &&
		slices.ContainsFunc(c.items, func(item *candidates) bool {
			return c.free[item.planned.Name] && item.tensor.Shape[0]%gguf.IQ2_XXS.BlockElements() == 0
		})
}

// report fills in what the plan costs.
func (c *choice) report(p *Plan, bound float64) error {
	p.Target = &TargetReport{Bytes: c.target.Bytes, BitsPerWeight: c.target.BitsPerWeight, Bound: bound, Measured: c.target.Sensitivity != nil}
	weights := map[gguf.Type]int64{}
	for i := range p.Tensors {
		pt := &p.Tensors[i]
		k := slices.IndexFunc(c.items, func(item *candidates) bool { return item.planned.Name == pt.Name })
		if k < 0 {
			continue
		}
		item := c.items[k]
		if pt.Estimate = item.estimates[slices.Index(item.types, pt.To)]; pt.Estimate != nil {
			p.Target.Cost += pt.Estimate.Cost
		}
		weights[pt.To] += int64(item.tensor.Elements())
	}
	p.name(weights)
	var err error
	if p.Target.FileBytes, err = c.target.fileSize(p); err != nil {
		return err
	}
	if limit := c.target.Bytes; limit > 0 && p.Target.FileBytes > limit {
		return fmt.Errorf("%w: %d bytes were planned where %d were asked for", ErrTarget, p.Target.FileBytes, limit)
	}
	return nil
}

// remark tells what may surprise about p.
func (c *choice) remark(p *Plan) {
	if c.target.Sensitivity == nil {
		p.Remarks = append(p.Remarks, "what errors cost is taken from experience with other models; --calibration TEXT measures it on this one and finds better types")
	}
	for _, t := range c.target.Types {
		if n := c.barred[t]; n > 0 {
			p.Remarks = append(p.Remarks, fmt.Sprintf("%v was not considered for %d tensors: it needs importance that they do not have", t, n))
		}
	}
	changes := func(t PlannedTensor) bool { return c.free[t.Name] && t.To != t.From }
	if !slices.ContainsFunc(p.Tensors, changes) {
		p.Remarks = append(p.Remarks, "the target is no smaller than the model: nothing needs to be quantized for it")
	}
}

// name gives the plan the name and number of the type that most weights have.
func (p *Plan) name(weights map[gguf.Type]int64) {
	most := gguf.F32
	for _, pt := range p.Tensors {
		if weights[pt.To] > weights[most] {
			most = pt.To
		}
	}
	p.FileType, p.id = "mostly "+most.String(), typicalFileType(most).id
}
