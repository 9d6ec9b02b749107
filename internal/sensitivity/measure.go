package sensitivity

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"

	"qtool/internal/arch"
	"qtool/internal/kernel/product"
	"qtool/internal/kernel/vector"
	"qtool/internal/model"
	"qtool/internal/nn"
	"qtool/quantize"
)

// ErrTextTooShort is in the chain of the error about a text of too few tokens.
var ErrTextTooShort = errors.New("too little text for calibration")

// Options say how to measure.
type Options struct {
	Context int   // tokens of a window; 0 is 256 or the model's own if that is less
	Tokens  int   // to read at most; 0 is all
	BOS     int32 // replaces the first token of each window; -1 is none
	// Progress, unless nil, is called before the first window and after each.
	Progress func(done, total int)
}

// Measure returns, by tensor, the sensitivity of the weights that LoRA pairs may be
// bound to, the router but for, and of the head. tokens are a text that is typical of
// the model's use. It takes about three times as long as running the text. d must not
// be used meanwhile.
//
// In every window a token is drawn from each prediction, and the gradient G of the log
// probability of all these tokens is taken: the mean of G·Gᵀ over such draws is the
// Fisher matrix, which gives the KL divergence of small errors. Of G only the energies
// of rows and columns are wanted, so it is never made: a LoRA pair that adds nothing,
// half of its rank with random signs in A and zeros in B and half the other way round,
// receives G times random signs as its own gradient, from both sides; the mean square
// of that over the signs is the energy.
func Measure(ctx context.Context, d *model.Decoder, tokens []int32, pool *product.Pool, opt Options) (map[string]*quantize.Sensitivity, error) {
	n, windows, err := opt.windows(len(tokens), d.Context)
	if err != nil {
		return nil, err
	}
	tokens = tokens[:n*windows]
	if err := d.CheckTokens(tokens); err != nil {
		return nil, err
	}
	p := attach(d)
	defer p.detach()
	m := &measurement{decoder: d, tape: nn.NewTape(pool), probe: p, head: newHeadEnergy(d)}
	for w := range windows {
		if opt.Progress != nil {
			opt.Progress(w, windows)
		}
		window := append([]int32(nil), tokens[w*n:(w+1)*n]...)
		if opt.BOS >= 0 {
			window[0] = opt.BOS
		}
		err := pool.Within(ctx, func() error {
			return m.window(window, rand.New(rand.NewPCG(uint64(w), 0x66697368)))
		})
		if err != nil {
			return nil, err
		}
	}
	if opt.Progress != nil {
		opt.Progress(windows, windows)
	}
	return m.result(windows * n), nil
}

// Check refuses, before a model of that context is loaded, a text of too few tokens for
// [Measure].
func (o *Options) Check(tokens, context int) error {
	_, _, err := o.windows(tokens, context)
	return err
}

// windows is the number of tokens of a window and of windows of a text.
func (o *Options) windows(tokens, context int) (n, count int, err error) {
	if n = o.Context; n == 0 {
		n = min(256, context)
	}
	if n < 2 || n > context {
		return 0, 0, fmt.Errorf("%w: windows of %d tokens; expected 2 to %d, the model's context", model.ErrUnsupported, n, context)
	}
	if o.Tokens > 0 {
		tokens = min(tokens, o.Tokens)
	}
	if tokens < n {
		return 0, 0, fmt.Errorf("%w: it has %d tokens; at least a window of %d is needed", ErrTextTooShort, tokens, n)
	}
	return n, tokens / n, nil
}

// measurement is what the windows add up to.
type measurement struct {
	decoder *model.Decoder
	tape    *nn.Tape
	probe   *probe
	head    *headEnergy
}

func (m *measurement) window(tokens []int32, rng *rand.Rand) error {
	m.probe.clear()
	m.tape.Reset(true)
	hidden := m.decoder.Hidden(m.tape, model.NewBatch(tokens, []int{0}), nil, true)
	targets, err := m.head.draw(m.tape, m.decoder, hidden, rng)
	if err != nil {
		return err
	}
	m.decoder.Loss(m.tape, hidden, nn.Targets{IDs: targets}, 1)
	m.tape.Backward()
	m.probe.collect()
	return nil
}

func (m *measurement) result(tokens int) map[string]*quantize.Sensitivity {
	all := map[string]*quantize.Sensitivity{}
	for _, e := range m.probe.energies {
		all[e.target.Tensor] = e.sensitivity(tokens)
	}
	head := m.head.sensitivity(tokens)
	for _, t := range m.decoder.Targets() {
		if t.Tensor == arch.Output {
			all[t.Tensor] = head
			return all
		}
	}
	// Tied, the matrix is used twice. The sum of two products is not a product, but has
	// the same energies by rows and by columns as this one.
	embedding := all[m.decoder.EmbeddingTarget().Tensor]
	addTo(embedding.Rows, head.Rows)
	addTo(embedding.Columns, head.Columns)
	return all
}

// probeSigns is how many random vectors of signs are used on each side of a weight.
const probeSigns = 4

// probe is pairs without effect whose gradients are looked at.
type probe struct{ energies []*energy }

// probed are the weights that get a pair: all but the router and the head, whose energies
// need none.
func probed(d *model.Decoder) []model.Target {
	targets := []model.Target{d.EmbeddingTarget()}
	for _, t := range d.Targets() {
		if t.Tensor != targets[0].Tensor && t.Tensor != arch.Output && !strings.Contains(t.Tensor, "ffn_gate_inp.") {
			targets = append(targets, t)
		}
	}
	return targets
}

// attach binds a pair to every weight that gets one. d must have no adapter.
func attach(d *model.Decoder) *probe {
	p, rng := &probe{}, rand.New(rand.NewPCG(1, 0x70726f6265))
	for _, t := range probed(d) {
		e := newEnergy(t)
		e.sign(rng)
		p.energies = append(p.energies, e)
	}
	return p
}

func (p *probe) detach() {
	for _, e := range p.energies {
		e.target.Linear.Pair = nil
	}
}

func (p *probe) clear() {
	for _, e := range p.energies {
		clear(e.a.Grad)
		clear(e.b.Grad)
	}
}

func (p *probe) collect() {
	for _, e := range p.energies {
		e.collect()
	}
}

// probeRank is the rank of the pairs.
const probeRank = 2 * probeSigns

// extents are those of a weight and of both halves of its pair.
type extents struct {
	in, out, experts int
	shapeA, shapeB   []int
}

func extentsOf(t model.Target) (e extents) {
	e.in, e.out, e.experts = t.Shape()
	if t.Transposed { // A has a row for each token
		e.shapeA, e.shapeB = []int{probeRank, e.in}, []int{probeRank, t.Linear.Cols}
		e.in, e.out = e.out, e.in
	} else {
		e.shapeA, e.shapeB = []int{e.in, probeRank, e.experts}, []int{probeRank, t.Linear.Rows, e.experts}
	}
	return e
}

// energy sums the squares of the gradient of one weight, by row and by column.
type energy struct {
	extents
	target        model.Target
	a, b          *nn.Param // the halves of the pair
	rows, columns []float64
}

func newEnergy(t model.Target) *energy {
	e := &energy{target: t, extents: extentsOf(t)}
	e.a, e.b = nn.NewParam(t.Tensor, e.shapeA...), nn.NewParam(t.Tensor, e.shapeB...)
	e.a.Train()
	e.b.Train()
	t.Linear.Pair = &nn.LoRAPair{A: e.a, B: e.b, Rank: probeRank, Scale: 1}
	e.rows, e.columns = make([]float64, e.out*e.experts), make([]float64, e.in*e.experts)
	return e
}

// sign fills the first half of A's ranks and the second half of B's with random signs,
// the others with zeros.
func (e *energy) sign(rng *rand.Rand) {
	e.each(func(inA bool, _, k, at int) {
		half, data := e.b.Data, k >= probeSigns
		if inA {
			half, data = e.a.Data, k < probeSigns
		}
		half[at] = 0
		if data {
			half[at] = float32(2*rng.IntN(2) - 1)
		}
	})
}

// collect adds the squares of the gradients of the zeros.
func (e *energy) collect() {
	columns, rows := e.columns, e.rows
	if e.target.Transposed {
		columns, rows = rows, columns
	}
	e.each(func(inA bool, i, k, at int) {
		switch {
		case inA && k >= probeSigns:
			g := float64(e.a.Grad[at])
			columns[i] += g * g / probeSigns
		case !inA && k < probeSigns:
			g := float64(e.b.Grad[at])
			rows[i] += g * g / probeSigns
		}
	})
}

// each calls f for every element of both halves: i is its column of A or row of B,
// counted through all experts, k its rank, at its place in the data.
func (e *energy) each(f func(inA bool, i, k, at int)) {
	const rank = probeRank
	if e.target.Transposed {
		for at := range e.a.Data {
			f(true, at/rank, at%rank, at)
		}
	} else {
		for at := range e.a.Data {
			expert, rest := at/(rank*e.in), at%(rank*e.in)
			f(true, expert*e.in+rest%e.in, rest/e.in, at)
		}
	}
	for at := range e.b.Data {
		f(false, at/rank, at%rank, at)
	}
}

// sensitivity is the mean per token. The rows of the embedding are alike: a text has few
// of its tokens. So are experts that no token came to, like the mean of the others.
func (e *energy) sensitivity(tokens int) *quantize.Sensitivity {
	if e.target.Transposed {
		mean := sum(e.rows) / float64(len(e.rows))
		for i := range e.rows {
			e.rows[i] = mean
		}
	}
	fillEmpty(e.rows, e.experts)
	fillEmpty(e.columns, e.experts)
	return &quantize.Sensitivity{Rows: perToken(e.rows, tokens), Columns: perToken(e.columns, tokens)}
}

func sum(v []float64) (s float64) {
	for _, x := range v {
		s += x
	}
	return s
}

// fillEmpty gives parts that are zero the mean of the others.
func fillEmpty(v []float64, parts int) {
	n := len(v) / parts
	mean, used := make([]float64, n), 0.0
	for p := range parts {
		if part := v[p*n : (p+1)*n]; sum(part) > 0 {
			used++
			for i, x := range part {
				mean[i] += x
			}
		}
	}
	for p := range parts {
		if part := v[p*n : (p+1)*n]; sum(part) == 0 && used > 0 {
			for i := range part {
				part[i] = mean[i] / used
			}
		}
	}
}

func addTo(v, w []float32) {
	for i := range v {
		v[i] += w[i]
	}
}

func perToken(v []float64, tokens int) []float32 {
	out := make([]float32, len(v))
	for i, x := range v {
		out[i] = float32(x / float64(tokens))
	}
	return out
}

// headEnergy is that of the head, which is known without drawing: the logits' Fisher
// matrix has p·(1-p) on its diagonal.
type headEnergy struct{ rows, columns []float64 }

func newHeadEnergy(d *model.Decoder) *headEnergy {
	return &headEnergy{make([]float64, d.Vocabulary), make([]float64, d.Embedding)}
}

// headRows is how many rows of logits exist at once.
const headRows = 16

// draw draws a token from every prediction and adds up the energies.
func (h *headEnergy) draw(t *nn.Tape, d *model.Decoder, hidden *nn.Var, rng *rand.Rand) ([]int32, error) {
	targets := make([]int32, hidden.Rows)
	for from := 0; from < hidden.Rows; from += headRows {
		to := min(from+headRows, hidden.Rows)
		t.Scoped(func() {
			part := nn.Constant(hidden.Data[from*hidden.Cols:to*hidden.Cols], to-from, hidden.Cols)
			logits := d.Logits(t, part)
			t.Pool.Run(logits.Rows, func(_, r int) { vector.Softmax(logits.Row(r), logits.Row(r)) })
			for r := range logits.Rows {
				targets[from+r] = h.add(logits.Row(r), part.Row(r), rng.Float64())
			}
		})
	}
	for i, id := range targets {
		if id < 0 {
			return nil, fmt.Errorf("%w: its predictions after token %d are not finite numbers; the weights may be damaged", model.ErrInvalid, i)
		}
	}
	return targets, nil
}

// add takes one prediction in and draws from it by where, in [0, 1); -1 if it is no
// distribution.
func (h *headEnergy) add(p, x []float32, where float64) int32 {
	drawn, last, total := int32(-1), int32(-1), 0.0
	for i, q := range p {
		q := float64(q)
		h.rows[i] += q * (1 - q)
		total += q
		if q > 0 {
			last = int32(i)
		}
		if drawn < 0 && total > where {
			drawn = int32(i)
		}
	}
	for j, v := range x {
		h.columns[j] += float64(v) * float64(v)
	}
	if math.IsNaN(total) {
		return -1
	}
	if drawn < 0 {
		drawn = last // rounding
	}
	return drawn
}

// sensitivity is the mean of p·(1-p)·x² in the form of a product.
func (h *headEnergy) sensitivity(tokens int) *quantize.Sensitivity {
	ofLogits, ofInputs := sum(h.rows)/float64(tokens), sum(h.columns)/float64(tokens)
	scaled := func(v []float64, by float64) []float64 {
		w := make([]float64, len(v))
		for i, x := range v {
			w[i] = x * by
		}
		return w
	}
	return &quantize.Sensitivity{
		Rows:    perToken(scaled(h.rows, ofInputs), tokens),
		Columns: perToken(scaled(h.columns, ofLogits), tokens),
	}
}
