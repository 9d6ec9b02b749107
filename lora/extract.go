package lora

import (
	"context"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"

	"qtool/gguf"
	"qtool/internal/adapt"
	"qtool/internal/arch"
	"qtool/internal/kernel/product"
	"qtool/internal/model"
	"qtool/internal/usage"
)

// Extracting says how [Extract] works.
type Extracting struct {
	// Rank of every pair, or the most of one where Energy decides.
	Rank int
	// Energy is the share of ‖D‖² that each pair has to hold, as in 0.95; 0 leaves it to Rank.
	Energy float64
	// Targets choose the tensors as [Select] does; nil takes every one that llama.cpp honours,
	// the router, the embedding and the head among them.
	Targets []string
	// MergeOnly takes targets, too, whose pairs have an effect only once they are merged.
	MergeOnly bool
	// Noise makes pairs of differences that look like nothing but quantization, too.
	Noise   bool
	Seed    uint64
	Threads int // 0 takes one for each CPU; the result does not depend on it
	// Progress, unless nil, gets how many of how many weights were looked at.
	Progress func(tensor string, done, total int64)
}

// Fit says how much of a change a pair of low rank holds.
type Fit struct {
	Tensor string
	Rank   int
	// Kept is 1 − ‖D − D'‖²/‖D‖², where D is the change that was wanted and D' that of the pair.
	Kept float64
	// Change is ‖D‖/‖W‖, how large the change is beside the weights; 0 where these are not known.
	Change float64
	// Noise is the share of ‖D‖² that quantizing the weights explains.
	Noise float64
	// Short marks a pair that would need a higher rank than is allowed to hold its share.
	Short bool
	// FromSum is ‖D' − Σ wᵢ·ΔWᵢ‖/‖Σ wᵢ·ΔWᵢ‖, of a pair that [Blend] makes: how far it is from the
	// sum of the changes.
	FromSum float64
	// Blended is how many pairs it is made of, 1 for one that no other adapter has.
	Blended int

	energy, held, weights float64 // ‖D‖², ‖D'‖², ‖W‖²
	off, sum              float64 // the squares that FromSum is made of
}

// fitOf is the fit of a pair whose decompositions hold so much of the energies.
func fitOf(tensor string, rank int, held float64, all energies) Fit {
	f := Fit{Tensor: tensor, Rank: rank, Kept: 1, energy: all.changes, held: min(held, all.changes), weights: all.weights}
	if all.changes > 0 {
		f.Kept = f.held / f.energy
	}
	if all.weights > 0 {
		f.Change = math.Sqrt(all.changes / all.weights)
	}
	return f
}

// measureSum sets FromSum of the squares of the difference and of the sum.
func (f *Fit) measureSum(off, sum float64) {
	if f.off, f.sum = off, sum; sum > 0 {
		f.FromSum = math.Sqrt(off / sum)
	}
}

// FitTogether is the fit of several pairs as if their tensors were one. Its rank is the highest.
func FitTogether(of []Fit) Fit {
	var all energies
	rank, held, rounding := 0, 0.0, 0.0
	short, off, sum := false, 0.0, 0.0
	for _, f := range of {
		off, sum = off+f.off, sum+f.sum
		all.join(energies{changes: f.energy, weights: f.weights})
		rank, held, rounding = max(rank, f.Rank), held+f.held, rounding+f.Noise*f.energy
		short = short || f.Short
	}
	f := fitOf("", rank, held, all)
	f.measureSum(off, sum)
	if f.Short = short; all.changes > 0 {
		f.Noise = rounding / all.changes
	}
	return f
}

// Left is a difference of two models that is not in the adapter.
type Left struct {
	Tensor string
	Why    string
	// Change is ‖D‖/‖W‖; 0 where one of the models has no such tensor.
	Change float64
}

// Extraction is what [Extract] finds.
type Extraction struct {
	Adapter   *Adapter
	Fits      []Fit    // of each pair
	Unchanged []string // tensors that are the same in both
	Noise     []Left   // differences that are no larger than those of quantization, and as random
	Left      []Left   // other differences that the adapter does not hold
	Settings  []string // what else differs, in words
}

// Extract makes an adapter of what a tuned model has more than its base: of each difference D =
// tuned − base of a weight that can have a pair, decoded to float32, the leading part of the
// singular value decomposition, which is the closest of its rank (Eckart and Young, 1936),
// found by a randomized method. Matrices of a stack of experts are decomposed each for
// itself; the rank of their pair is the highest that one needs. All scales are 1, with alpha the
// highest rank and the rest multiplied into B. Besides the adapter it needs memory for the vectors of
// one matrix, and up to 512 MiB for its values.
//
// It fails with [ErrUnlike] if the models are not of one architecture, shape and vocabulary, with
// [ErrNoDifference] if there is nothing to put into an adapter, with [quantize.ErrInvalidWeights] if
// weights are not finite, and with ctx's error when that ends.
func Extract(ctx context.Context, base, tuned gguf.Model, o Extracting) (*Extraction, error) {
	e := &extracting{Extracting: o, base: base, tuned: tuned, out: &Extraction{Adapter: &Adapter{Extra: &gguf.Metadata{}}}}
	if err := e.check(); err != nil {
		return nil, err
	}
	e.pool = product.NewPool(o.Threads)
	defer e.pool.Close()
	if err := e.pool.Within(ctx, e.run); err != nil {
		return nil, err
	}
	for _, m := range []gguf.Model{base, tuned} {
		if err := m.Unchanged(); err != nil {
			return nil, err
		}
	}
	a := e.out.Adapter
	if len(a.Pairs) == 0 {
		return nil, fmt.Errorf("%w: %s", ErrNoDifference, e.nothing())
	}
	a.foldScales()
	return e.out, nil
}

// checkRank refuses ranks and shares that are none.
func checkRank(rank int, energy float64) error {
	switch {
	case rank < 0 || rank == 0 && energy == 0:
		return usage.Errorf("a rank of %d: expected 1 or more", rank)
	case energy < 0 || energy > 1 || math.IsNaN(energy):
		return usage.Errorf("an energy of %g: expected a share above 0 and at most 1, as in 0.95", energy)
	}
	return nil
}

// extracting is one run of Extract.
type extracting struct {
	Extracting
	base, tuned gguf.Model
	decoder     *model.Decoder // of the base, without weights
	targets     map[string]model.Target
	pool        *product.Pool
	out         *Extraction
	done, total int64
}

// check finds out whether the models can be compared.
func (e *extracting) check() error {
	if err := checkRank(e.Rank, e.Energy); err != nil {
		return err
	}
	var names [2]string
	for i, m := range []gguf.Model{e.base, e.tuned} {
		which := [2]string{"the base", "the tuned model"}[i]
		if kind, _ := m.Metadata().Str("general.type"); kind != "" && kind != "model" {
			return fmt.Errorf("%w: %s is a file of general.type %q; an adapter is the difference of two models", ErrUnsupported, which, kind)
		}
		var err error
		if names[i], err = arch.Name(m); err != nil {
			return fmt.Errorf("%s: %w", which, err)
		}
	}
	if names[0] != names[1] {
		return fmt.Errorf("%w: the base is of architecture %q, the tuned model %q", ErrUnlike, names[0], names[1])
	}
	e.out.Adapter.Architecture = names[0]
	if err := e.compareVocabulary(); err != nil {
		return err
	}
	var err error
	if e.decoder, err = model.Load(e.base, model.Options{Shapes: true}); err != nil {
		return fmt.Errorf("the base: %w", err)
	}
	if err := e.choose(); err != nil {
		return err
	}
	e.compareSettings(names[0])
	return e.compareTensors()
}

// choose finds the tensors that get pairs if they differ.
func (e *extracting) choose() error {
	chosen := slices.Clone(e.decoder.Targets())
	if len(e.Targets) > 0 {
		var err error
		if chosen, err = adapt.Select(e.decoder, e.Targets, e.MergeOnly); err != nil {
			return err
		}
	} else if !e.MergeOnly {
		chosen = slices.DeleteFunc(chosen, func(t model.Target) bool { return t.Refused != "" })
	}
	e.targets = map[string]model.Target{}
	for _, t := range chosen {
		e.targets[t.Tensor] = t
	}
	return nil
}

// compareVocabulary refuses models of two vocabularies.
func (e *extracting) compareVocabulary() error {
	const tokens = "tokenizer.ggml.tokens"
	a, errA := e.base.Metadata().Strings(tokens)
	b, errB := e.tuned.Metadata().Strings(tokens)
	if errA != nil || errB != nil {
		return nil // the shapes of the embeddings are compared
	}
	if len(a) != len(b) {
		return fmt.Errorf("%w: the base has a vocabulary of %d tokens, the tuned model one of %d; an adapter cannot add tokens", ErrUnlike, len(a), len(b))
	}
	other, first := 0, ""
	for i := range a {
		if a[i] != b[i] {
			if other++; other == 1 {
				first = fmt.Sprintf("token %d is %q in the base and %q in the tuned model", i, a[i], b[i])
			}
		}
	}
	switch {
	case other > len(a)/10:
		return fmt.Errorf("%w: %d of %d tokens of their vocabularies differ; %s", ErrUnlike, other, len(a), first)
	case other > 0:
		e.out.Settings = append(e.out.Settings, fmt.Sprintf("%d tokens have another text: %s", other, first))
	}
	return nil
}

// harmless are keys of an architecture that change nothing of what is computed.
var harmless = []string{"context_length", "vocab_size"}

// ofTurns are keys about how text begins and ends, which tuned models often change.
var ofTurns = []string{
	"tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.add_bos_token", "tokenizer.ggml.add_eos_token",
	"tokenizer.ggml.pre", keyTemplate,
}

const keyTemplate = "tokenizer.chat_template"

// compareSettings notes what else the tuned model computes or is asked otherwise.
func (e *extracting) compareSettings(name string) {
	for _, kv := range e.base.Metadata().All() {
		key, ok := strings.CutPrefix(kv.Key, name+".")
		other, both := e.tuned.Metadata().Get(kv.Key)
		if !(ok && !slices.Contains(harmless, key) || slices.Contains(ofTurns, kv.Key)) || !both || reflect.DeepEqual(kv.Value, other) {
			continue
		}
		if kv.Key == keyTemplate {
			e.out.Settings = append(e.out.Settings, "the tuned model has another chat template than the base")
			continue
		}
		e.out.Settings = append(e.out.Settings, fmt.Sprintf("%s is %.60s in the base and %.60s in the tuned model", kv.Key, fmt.Sprint(kv.Value), fmt.Sprint(other)))
	}
	if !e.base.Metadata().Has(keyTemplate) && e.tuned.Metadata().Has(keyTemplate) {
		e.out.Settings = append(e.out.Settings, "the tuned model has a chat template and the base has none")
	}
}

// compareTensors compares names and shapes.
func (e *extracting) compareTensors() error {
	for _, t := range e.base.Tensors() {
		u, ok := e.tuned.Tensor(t.Name)
		if ok {
			if !gguf.SameShape(t.Shape, u.Shape) {
				_, err := newDifference(t, u, 0)
				return err
			}
			e.total += int64(t.Elements())
			continue
		}
		if arch.LayerOf(t.Name) >= 0 && len(t.Shape) > 1 {
			return fmt.Errorf("%w: the base has %q and the tuned model does not; is it another model?", ErrUnlike, t.Name)
		}
		why := "only the base has it"
		if t.Name == arch.Output {
			why = "only the base has it: the tuned model uses its embedding as the head"
		}
		e.leave(t.Name, why, 0)
	}
	for _, t := range e.tuned.Tensors() {
		if _, ok := e.base.Tensor(t.Name); ok {
			continue
		}
		if arch.LayerOf(t.Name) >= 0 && len(t.Shape) > 1 {
			return fmt.Errorf("%w: the tuned model has %q and the base does not; is it another model?", ErrUnlike, t.Name)
		}
		why := "only the tuned model has it"
		if t.Name == arch.Output {
			why = "only the tuned model has it: the base uses its embedding as the head, and a pair cannot change one of them alone"
		}
		e.leave(t.Name, why, 0)
	}
	return nil
}

func (e *extracting) leave(tensor, why string, change float64) {
	e.out.Left = append(e.out.Left, Left{tensor, why, change})
}

// run compares all weights, in the order of the base.
func (e *extracting) run() error {
	for _, t := range e.base.Tensors() {
		u, ok := e.tuned.Tensor(t.Name)
		if !ok || t.Elements() == 0 {
			continue
		}
		if err := e.tensor(t, u); err != nil {
			return fmt.Errorf("tensor %q: %w", t.Name, err)
		}
		t.DontNeed()
		u.DontNeed()
	}
	return nil
}

// tensor compares one weight.
func (e *extracting) tensor(base, tuned *gguf.Tensor) error {
	d, err := newDifference(base, tuned, e.pool.Workers())
	if err != nil {
		return err
	}
	x := &extracted{extracting: e, name: base.Name, d: d}
	_, x.wanted = e.targets[base.Name]
	x.wanted = x.wanted && e.scaleOf(base.Name) == ""
	x.rows, x.count = base.Rows(), 1
	if len(base.Shape) > 2 {
		x.rows, x.count = base.Shape[1], base.Rows()/base.Shape[1]
	}
	for m := range x.count {
		if err := x.matrix(m); err != nil {
			return err
		}
		if e.done += int64(x.rows) * int64(d.columns()); e.Progress != nil {
			e.Progress(base.Name, e.done, e.total)
		}
	}
	x.finish(len(base.Shape) > 2)
	return nil
}

// scaleOf is the tensor of a scale that a weight is multiplied by; "" if there is none.
func (e *extracting) scaleOf(tensor string) string {
	name := strings.TrimSuffix(tensor, ".weight") + ".scale"
	if _, ok := e.base.Tensor(name); ok && name != tensor {
		return name
	}
	return ""
}

// why is the reason for which a tensor has no pair.
func (e *extracting) why(tensor string) string {
	short := arch.ShortName(tensor)
	for _, t := range e.decoder.Targets() {
		if t.Tensor != tensor {
			continue
		}
		switch _, chosen := e.targets[tensor]; {
		case chosen:
			return fmt.Sprintf("it is multiplied by %q, and a pair on such a weight is not computed", e.scaleOf(tensor))
		case t.Refused != "":
			return t.Refused + "; such a pair only works merged (merge-only)"
		}
		return "it is not among the chosen targets"
	}
	if reason := e.decoder.NoTarget(short); reason != "" {
		return reason
	}
	switch {
	case strings.HasSuffix(tensor, ".bias"):
		return "it is a bias, and pairs change matrices"
	case strings.Contains(short, "norm"):
		return "it is a norm, and pairs change matrices"
	case tensor == arch.TokenEmbedding:
		return "the embedding serves as the head too, and a pair would change only one of them"
	}
	return "inference applies no pair to it"
}

// nothing says why there is no pair.
func (e *extracting) nothing() string {
	switch {
	case len(e.out.Noise) > 0 && len(e.out.Left) == 0:
		return fmt.Sprintf("what differs, in %d tensors, is no more than quantization: base and tuned are the same weights, stored in different types", len(e.out.Noise))
	case len(e.out.Left) > 0:
		return fmt.Sprintf("%d tensors differ, and no pair can hold that: %q (%s)", len(e.out.Left), e.out.Left[0].Tensor, e.out.Left[0].Why)
	}
	return "base and tuned have the same weights"
}

// extracted is one tensor at work.
type extracted struct {
	*extracting
	name        string
	d           *difference
	wanted      bool // a pair can be made
	rows, count int  // of one matrix, and how many there are

	of       []*decomposition
	all      energies
	held     float64
	rounding float64 // what of the changes rounding explains
	real     bool    // some matrix differs by more than that
	short    bool
}

// matrix compares matrix m and decomposes its difference.
func (x *extracted) matrix(m int) error {
	columns := x.d.columns()
	x.d.first = m * x.rows
	s, err := newSketch(x.pool, x.d, x.rows, columns, x.Seed, streamOf(x.name, m, 0))
	if err != nil {
		return err
	}
	x.all.join(s.all)
	x.of = append(x.of, &decomposition{rows: x.rows, columns: columns})
	if s.all.changes == 0 {
		return nil
	}
	rounding, err := x.d.rounding(x.pool, x.rows)
	if err != nil {
		return err
	}
	x.rounding += rounding.share() * s.all.changes
	if !x.Noise {
		if noise, err := rounding.explains(x.pool, s.all); noise || err != nil {
			return err
		}
	}
	if x.real = true; !x.wanted {
		return nil
	}
	g := goal{rank: x.Rank, share: x.Energy}
	if g.rank == 0 {
		g.rank = min(x.rows, columns)
	}
	d, err := s.decompose(g)
	if err != nil {
		return err
	}
	x.of[m] = d
	x.held += d.energy(len(d.values))
	x.short = x.short || x.Energy > 0 && d.rankFor(x.Energy, s.all.changes) > len(d.values)
	return nil
}

// finish puts the tensor where it belongs.
func (x *extracted) finish(stacked bool) {
	change := math.Sqrt(x.all.changes / max(x.all.weights, math.SmallestNonzeroFloat64))
	switch {
	case x.all.changes == 0:
		x.out.Unchanged = append(x.out.Unchanged, x.name)
	case !x.real:
		x.out.Noise = append(x.out.Noise, Left{x.name, fmt.Sprintf("stored as %v and %v", x.d.base.Type, x.d.tuned.Type), change})
	case !x.wanted:
		x.leave(x.name, x.why(x.name), change)
	default:
		rank := 1
		for _, d := range x.of {
			rank = max(rank, len(d.values))
		}
		a := x.out.Adapter
		a.Pairs = append(a.Pairs, pairOf(x.name, x.of, rank, stacked, 1))
		a.MergeOnly = a.MergeOnly || x.targets[x.name].Refused != ""
		f := fitOf(x.name, rank, x.held, x.all)
		f.Noise, f.Short = x.rounding/x.all.changes, x.short
		x.out.Fits = append(x.out.Fits, f)
	}
}

// foldScales gives an adapter with scales of 1 (alpha 0) an alpha that others read alike: the highest
// rank. The B of pairs of lower rank takes the rest.
func (a *Adapter) foldScales() {
	a.Alpha = float32(highestRank(a))
	for i := range a.Pairs {
		p := &a.Pairs[i]
		if scale := a.Scale(p.Rank()); scale != 1 {
			p.B.Values = scaled(p.B.Values, 1/scale)
		}
	}
}
