package lora

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"qtool/gguf"
	"qtool/internal/adapt"
	"qtool/internal/arch"
	"qtool/internal/kernel/product"
	"qtool/internal/model"
)

// Verifying says how [Verify] works.
type Verifying struct {
	Strength float32 // with which the adapter is used; 0 is 1
	Text     string  // to compute logits for; "" is a text that is built in
	Threads  int     // 0 takes one for each CPU
	// Progress, unless nil, gets how much of a stage is done: of [Identifying], which is left out
	// if the adapter does not say on which base it was trained, and then of [Probing].
	Progress func(s Stage, done, total int64)
}

// Stage is a part of [Verify] that takes time.
type Stage string

const (
	Identifying Stage = "identifying the base" // counts bytes of it
	Probing     Stage = "computing logits"     // counts tokens, with the adapter and without
)

// progress tells how far a stage is.
func (o *Verifying) progress(s Stage, done, total int64) {
	if o.Progress != nil {
		o.Progress(s, done, total)
	}
}

// Verdict is what [Verify] finds out.
type Verdict struct {
	Architecture string   `json:"architecture"`
	Alpha        float32  `json:"alpha"`
	Pairs        int      `json:"pairs"` // without a fault
	Parameters   int      `json:"parameters"`
	Ranks        []int    `json:"ranks"` // that occur, ascending
	Types        []string `json:"types"` // of the halves
	MergeOnly    bool     `json:"merge_only"`

	Base     BaseCheck `json:"base"`
	Findings []Finding `json:"findings"`
	Probe    *Probe    `json:"probe"` // nil if the pairs cannot be computed with the base
	// Places says for each place what becomes of the adapter there.
	Places []Effect `json:"places"`

	causes map[Severity]error // the first of each kind
}

// BaseCheck compares the base at hand with the one that an adapter says it was trained on.
type BaseCheck struct {
	Relation string `json:"relation"` // same, other quantization, other model, or unknown
	Recorded Base   `json:"recorded"`
	Found    Base   `json:"found"` // without a hash if none is recorded
}

// What BaseCheck.Relation says.
const (
	RelationSame              = "same"
	RelationOtherQuantization = "other quantization"
	RelationOtherModel        = "other model"
	RelationUnknown           = "unknown"
)

// Err is nil if nothing is wrong with the adapter on this base. What is broken matches [ErrInvalid];
// what is not computed [ErrUnsupported], else a mismatch [ErrMismatch], [ErrNoEffect] or [ErrNotFinite].
func (v *Verdict) Err() error {
	for _, s := range []Severity{Broken, Unsupported, Mismatch} {
		if err := v.causes[s]; err != nil {
			return err
		}
	}
	return nil
}

// Verify examines the file of an adapter, how it fits a base, and how it changes the logits of
// the base. What is wrong with the adapter is in the verdict; errors are about reading, or about a base
// that is no sound model.
func Verify(ctx context.Context, file, base gguf.Model, o Verifying) (*Verdict, error) {
	x := &examination{file: file, base: base, order: map[string]int{}}
	x.verdict = &Verdict{Base: BaseCheck{Relation: RelationUnknown}, Findings: []Finding{}, causes: map[Severity]error{}}
	bound, faults, err := adapt.Examine(file)
	if err != nil {
		return nil, err
	}
	for _, f := range faults {
		x.note(string(f.Code), Subject{f.Tensor, f.Key, f.Text}, f)
	}
	if bound != nil {
		x.adapter, _ = fromBound(bound, nil)
		x.describe()
		x.metadata()
		x.values()
		if err := x.onBase(ctx, bound, o); err != nil {
			return nil, err
		}
	}
	x.conclude()
	return x.verdict, nil
}

// examination is one run of Verify.
type examination struct {
	file, base gguf.Model
	adapter    *Adapter
	verdict    *Verdict
	order      map[string]int // findings by code, and by whether what they are about can be merged
}

// note adds a finding, or a place where it was found once more. err is what [Verdict.Err] says of it.
func (x *examination) note(code string, s Subject, err error) { x.noteMerged(code, s, err, true) }

func (x *examination) noteMerged(code string, s Subject, err error, mergeable bool) {
	v := x.verdict
	key := fmt.Sprint(code, mergeable)
	i, known := x.order[key]
	if !known {
		i = len(v.Findings)
		x.order[key] = i
		v.Findings = append(v.Findings, rules[code].finding(code, mergeable))
	}
	f := &v.Findings[i]
	if s != (Subject{}) {
		f.Subjects = append(f.Subjects, s)
	}
	if v.causes[f.Severity] == nil {
		v.causes[f.Severity] = err
	}
}

// describe tells what is in the adapter.
func (x *examination) describe() {
	v, a := x.verdict, x.adapter
	v.Architecture, v.Alpha, v.MergeOnly, v.Pairs = a.Architecture, a.Alpha, a.MergeOnly, len(a.Pairs)
	ranks, types := map[int]bool{}, map[string]bool{}
	for _, p := range a.Pairs {
		v.Parameters += len(p.A.Values) + len(p.B.Values)
		ranks[p.Rank()] = true
	}
	for _, t := range x.file.Tensors() {
		types[t.Type.String()] = true
		s := Subject{Tensor: t.Name, Text: fmt.Sprintf("tensor %q is %v", t.Name, t.Type)}
		switch t.Type {
		case gguf.F32, gguf.F16, gguf.BF16:
		case gguf.I8, gguf.I16, gguf.I32, gguf.F64:
			x.note(codeNumbers, s, fmt.Errorf("%w: %s", ErrMismatch, s.Text))
		default:
			x.note(codeQuantized, s, nil)
		}
	}
	v.Ranks, v.Types = slices.Sorted(maps.Keys(ranks)), slices.Sorted(maps.Keys(types))
}

// readKeys are the keys of adapters that llama.cpp reads.
var readKeys = []string{"adapter.type", "adapter.lora.alpha", "adapter.lora.task_name", "adapter.lora.prompt_prefix", "adapter.alora.invocation_tokens"}

// metadata looks at keys that are no fault.
func (x *examination) metadata() {
	md := x.file.Metadata()
	const alpha = "adapter.lora.alpha"
	switch v, ok := md.Get(alpha); {
	case !ok:
		x.note(codeNoAlpha, Subject{Key: alpha, Text: "it is missing"}, nil)
	case v == float32(0):
		x.note(codeZeroAlpha, Subject{}, nil)
	case x.adapter.Alpha < 0:
		x.note(codeNegativeAlpha, Subject{Key: alpha, Text: fmt.Sprintf("it is %g", x.adapter.Alpha)}, nil)
	}
	for _, kv := range md.All() {
		switch {
		case strings.HasPrefix(kv.Key, "tokenizer.chat_template"):
			x.note(codeTemplate, Subject{Key: kv.Key, Text: "it is there"}, nil)
		case strings.HasPrefix(kv.Key, "adapter.") && !slices.Contains(readKeys, kv.Key), strings.HasPrefix(kv.Key, "tokenizer."):
			x.note(codeUnreadKey, Subject{Key: kv.Key, Text: "it has no effect"}, nil)
		}
	}
}

// values looks for pairs and experts that change nothing.
func (x *examination) values() {
	for i := range x.adapter.Pairs {
		p := &x.adapter.Pairs[i]
		if p.checkMatrices() != nil { // the base tells which half is wrong
			continue
		}
		changes := 0
		for m := range p.matrices() {
			if left, right, _, _ := p.sides(m); !allZero(left) && !allZero(right) {
				changes++
			}
		}
		switch {
		case changes == 0:
			which := "B"
			if !allZero(p.B.Values) {
				which = "A"
				if !allZero(p.A.Values) {
					which = "A or B of every expert"
				}
			}
			x.note(codeZeroPair, Subject{Tensor: p.Tensor, Text: fmt.Sprintf("%q: %s is all zero", p.Tensor, which)}, nil)
		case changes < p.matrices():
			x.note(codeIdleExperts, Subject{Tensor: p.Tensor, Text: fmt.Sprintf("%q: %d of %d experts are changed", p.Tensor, changes, p.matrices())}, nil)
		}
	}
}

// onBase compares the adapter with the base and computes with both.
func (x *examination) onBase(ctx context.Context, bound *adapt.Adapter, o Verifying) error {
	if err := x.identify(ctx, o); err != nil {
		return err
	}
	d, err := model.Load(x.base, model.Options{})
	switch {
	case errors.Is(err, model.ErrUnsupported):
		x.note(codeNotComputed, Subject{Text: err.Error()}, &baseError{err})
		return x.fitNames()
	case err != nil:
		return fmt.Errorf("the base: %w", err)
	}
	fits := x.fit(bound, d)
	if !fits || len(bound.Pairs) == 0 {
		return nil
	}
	return x.probe(ctx, d, o)
}

// baseError is about a base of a kind that is not computed.
type baseError struct{ err error }

func (e *baseError) Error() string   { return "the base: " + e.err.Error() }
func (e *baseError) Unwrap() []error { return []error{ErrUnsupported, e.err} }

// identify compares the base with the one that the adapter records.
func (x *examination) identify(ctx context.Context, o Verifying) (err error) {
	b := &x.verdict.Base
	var ok bool
	if b.Recorded, ok = Recorded(x.adapter.Extra); !ok {
		b.Found = describeBase(x.base)
		x.note(codeBaseUnknown, Subject{}, nil)
		return nil
	}
	if b.Recorded.SHA256 == "" {
		b.Found = describeBase(x.base)
	} else {
		var total int64
		for _, t := range x.base.Tensors() {
			total += t.Size()
		}
		if b.Found, err = Identify(ctx, x.base, func(done int64) { o.progress(Identifying, done, total) }); err != nil {
			return err
		}
	}
	was := fmt.Sprintf("it was trained on %v, and this is %v", b.Recorded, b.Found)
	switch b.Found.RelationTo(b.Recorded) {
	case SameBase:
		b.Relation = RelationSame
	case SameModel:
		b.Relation = RelationOtherQuantization
		x.note(codeOtherBits, Subject{Text: was}, nil)
	case OtherModel:
		b.Relation = RelationOtherModel
		x.note(codeOtherModel, Subject{Text: was}, fmt.Errorf("%w: %s", ErrMismatch, was))
	}
	return nil
}

// fit compares names and shapes with the decoder of the base, and reports whether all pairs can be computed.
func (x *examination) fit(bound *adapt.Adapter, d *model.Decoder) bool {
	mergeOnly := bound.MergeOnly
	bound.MergeOnly = false // so that pairs are told that llama.cpp does not honour
	faults := bound.Misfits(d)
	bound.MergeOnly = mergeOnly
	refused := map[string]string{}
	for _, t := range d.Targets() {
		refused[t.Tensor] = t.Refused
	}
	merge := x.mergeErrors()
	fits := true
	for _, f := range faults {
		code := string(f.Code)
		_, there := x.base.Tensor(f.Tensor)
		switch {
		case f.Code == adapt.NotHonoured && (refused[f.Tensor] == arch.GLMCrash || refused[f.Tensor] == arch.NVFP4Crash):
			code = codeAborts
		case f.Code == adapt.NotHonoured && refused[f.Tensor] == arch.ScaledTwice:
			code = codeScaledWeight
		case f.Code == adapt.NotHonoured:
			code = codeIgnored
		case f.Code == adapt.NeverTarget && (f.Tensor == arch.TokenEmbedding || f.Tensor == arch.Output):
			code = codeTiedHead
		case f.Code == adapt.NeverTarget && there:
			code = codeHeadMatrices
		case f.Code == adapt.NoSuchTensor && there && arch.LayerOf(f.Tensor) >= len(d.Layers):
			code = codeSkippedBlock
		case f.Code == adapt.NoSuchTensor && there:
			code = codeNotATarget
		case f.Code == adapt.NeverTarget:
			code = string(adapt.NoSuchTensor)
		}
		fits = fits && f.Code == adapt.NotHonoured
		x.noteMerged(code, Subject{f.Tensor, f.Key, f.Text}, f, merge[f.Tensor] == nil)
	}
	if mergeOnly {
		x.forgive()
	}
	return fits
}

// forgive makes warnings of what a file says itself that it is not for: being used without merging.
func (x *examination) forgive() {
	v := x.verdict
	for i, f := range v.Findings {
		if f.Code == codeIgnored || f.Code == codeAborts || f.Code == codeScaledWeight {
			v.Findings[i].Severity = Warning
			v.Findings[i].Title += ", as the adapter says itself"
			v.Findings[i].Effects = slices.DeleteFunc(f.Effects, func(e Effect) bool { return e.Place == Qtool })
		}
	}
	if !slices.ContainsFunc(v.Findings, func(f Finding) bool { return f.Severity == Mismatch }) {
		delete(v.causes, Mismatch)
	}
}

// mergeErrors are why pairs cannot be merged, by their tensors.
func (x *examination) mergeErrors() map[string]error {
	s := &Sum{base: x.base, from: x.base}
	errs := map[string]error{}
	for i := range x.adapter.Pairs {
		p := &x.adapter.Pairs[i]
		if _, err := s.fitted(p); err != nil {
			errs[p.Tensor] = err
		}
	}
	return errs
}

// fitNames is fit for a base that is not computed.
func (x *examination) fitNames() error {
	name, err := arch.Name(x.base)
	if err != nil {
		return fmt.Errorf("the base: %w", err)
	}
	if x.adapter.Architecture != name {
		err := fmt.Errorf("%w: it was made for architecture %q, the base is %q", ErrMismatch, x.adapter.Architecture, name)
		x.note(string(adapt.OtherArch), Subject{Key: arch.KeyArchitecture, Text: err.Error()}, err)
	}
	errs := x.mergeErrors()
	for _, p := range x.adapter.Pairs {
		err := errs[p.Tensor]
		if err == nil || errors.Is(err, ErrUnsupported) {
			continue
		}
		code := string(adapt.WrongShape)
		if _, there := x.base.Tensor(p.Tensor); !there {
			code = string(adapt.NoSuchTensor)
		}
		x.note(code, Subject{Tensor: p.Tensor, Text: err.Error()}, err)
	}
	return nil
}

// probe computes logits with and without the adapter.
func (x *examination) probe(ctx context.Context, d *model.Decoder, o Verifying) error {
	tokens, probe, err := probeTokens(x.base, d, o.Text)
	if err != nil {
		return err
	}
	weights := x.adapter
	if o.Strength != 0 && o.Strength != 1 {
		if weights, err = Combine(Scaled{weights, o.Strength}); err != nil {
			return err
		}
	}
	bound, err := weights.bound()
	if err != nil {
		return err
	}
	bound.MergeOnly = true // what is only ignored elsewhere is computed as if it were merged
	pool := product.NewPool(o.Threads)
	defer pool.Close()
	e, err := bound.Effect(ctx, d, tokens, pool, func(done, total int) { o.progress(Probing, int64(done), int64(total)) })
	switch {
	case errors.Is(err, ErrNoEffect):
		x.note(codeNoEffect, Subject{Text: strings.TrimPrefix(err.Error(), ErrNoEffect.Error()+": ")}, err)
	case errors.Is(err, ErrNotFinite):
		x.note(codeSpoils, Subject{Text: strings.TrimPrefix(err.Error(), ErrNotFinite.Error()+": ")}, err)
		return nil
	case err != nil:
		return err
	}
	probe.NMSE, probe.KL, probe.LargestKL, probe.TopChanges, probe.LargestChange = e.NMSE, e.KL, e.MostKL, e.Top, e.Largest
	x.verdict.Probe = probe
	return nil
}

// conclude sorts the findings and sums up what happens at each place.
func (x *examination) conclude() {
	v := x.verdict
	severities := []Severity{Broken, Unsupported, Mismatch, Warning, Note}
	slices.SortStableFunc(v.Findings, func(a, b Finding) int {
		return slices.Index(severities, a.Severity) - slices.Index(severities, b.Severity)
	})
	for _, place := range places {
		sum := Effect{place, Works, ""}
		for _, f := range v.Findings {
			for _, e := range f.Effects {
				if e.Place == place && slices.Index(outcomes, e.Outcome) > slices.Index(outcomes, sum.Outcome) {
					sum.Outcome, sum.Text = e.Outcome, e.Text
				}
			}
		}
		v.Places = append(v.Places, sum)
	}
}
