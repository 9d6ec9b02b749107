package sensitivity_test

import (
	"context"
	"errors"
	"math"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"qtool/fixtures"
	"qtool/fixtures/language"
	"qtool/gguf"
	"qtool/internal/infer"
	"qtool/internal/kernel/product"
	"qtool/internal/kernel/vector"
	"qtool/internal/model"
	"qtool/internal/nn"
	"qtool/internal/sensitivity"
	"qtool/internal/sharedtest"
	"qtool/internal/tokenizer"
	"qtool/quantize"
)

// village is the embedded base with a text of its world.
func village(t *testing.T) (base *gguf.File, tok *tokenizer.Tokenizer, text func(seed uint64) []int32) {
	t.Helper()
	base, err := fixtures.Base()
	if err != nil {
		t.Fatal(err)
	}
	v, err := tokenizer.VocabFromMetadata(base.Metadata())
	if err != nil {
		t.Fatal(err)
	}
	if tok, err = tokenizer.New(v); err != nil {
		t.Fatal(err)
	}
	return base, tok, func(seed uint64) []int32 {
		documents := language.NewWriter(seed).Documents(150)
		return tok.Encode(strings.Join(documents, "\n"), tokenizer.EncodeOptions{AddSpecial: true})
	}
}

func load(t *testing.T, m gguf.Model, opt model.Options) *model.Decoder {
	t.Helper()
	d, err := model.Load(m, opt)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func measure(t *testing.T, d *model.Decoder, tokens []int32, threads int, opt sensitivity.Options) map[string]*quantize.Sensitivity {
	t.Helper()
	pool := product.NewPool(threads)
	defer pool.Close()
	s, err := sensitivity.Measure(context.Background(), d, tokens, pool, opt)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// divergence is how far a plan's model is from its source, in nats per token.
func divergence(t *testing.T, p *quantize.Plan, base gguf.Model, tok *tokenizer.Tokenizer, tokens []int32) float64 {
	t.Helper()
	pool := product.NewPool(0)
	defer pool.Close()
	a := infer.NewSession(load(t, p.Model(), model.Options{}), tok, pool)
	b := infer.NewSession(load(t, base, model.Options{}), tok, pool)
	d, err := a.Compare(context.Background(), b, tokens, infer.PerplexityOptions{Context: 128, Chunks: 16})
	if err != nil {
		t.Fatal(err)
	}
	return d.KL.Mean.Value
}

func TestATargetLosesLessThanTheFixedMixOfItsSize(t *testing.T) {
	base, tok, text := village(t)
	calibration, evaluation := text(11), text(12)
	measured := measure(t, load(t, base, model.Options{}), calibration, 0, sensitivity.Options{Tokens: 2048, BOS: tok.BOS()})
	byRole := 0.0
	for _, fileType := range []string{"Q4_0", "IQ4_NL", "Q5_0", "Q5_K_M"} {
		opts := quantize.Options{FileType: fileType, AllowRequantize: true}
		fixed, err := quantize.NewPlan(base, opts)
		if err != nil {
			t.Fatal(err)
		}
		size, err := gguf.FileSize(fixed.Model())
		if err != nil {
			t.Fatal(err)
		}
		target := func(s map[string]*quantize.Sensitivity) (kl, estimated float64) {
			p, err := quantize.NewTargetPlan(context.Background(), base, opts, quantize.Target{Bytes: size, Sensitivity: s})
			if err != nil {
				t.Fatal(err)
			}
			if p.Target.FileBytes > size {
				t.Errorf("%d bytes where %d were asked for", p.Target.FileBytes, size)
			}
			return divergence(t, p, base, tok, evaluation), p.Target.Cost
		}
		mix := divergence(t, fixed, base, tok, evaluation)
		role, _ := target(nil)
		kl, estimated := target(measured)
		t.Logf("%-6s in %d bytes: %.5f; by role %.5f; measured %.5f, estimated %.5f", fileType, size, mix, role, kl, estimated)
		if kl > 0.7*mix {
			t.Errorf("%s: KL divergence %.5f, %.5f after measuring", fileType, mix, kl)
		}
		if kl > 1.5*estimated || estimated > 1.5*kl {
			t.Errorf("%s: KL divergence %.5f, estimated %.5f", fileType, kl, estimated)
		}
		byRole += math.Log(role / mix)
	}
	if byRole > 4*math.Log(0.8) {
		t.Errorf("without measuring, the KL divergence is %.2f of that of the mixes in the mean", math.Exp(byRole/4))
	}
}

// noisy is m with an error of the given relative size on one tensor.
func noisy(t *testing.T, m gguf.Model, name string, relative float64) (gguf.Model, []float32) {
	t.Helper()
	var tensors []*gguf.Tensor
	var noise []float32
	for _, tensor := range m.Tensors() {
		if tensor.Name == name {
			values, err := quantize.Decode(tensor)
			if err != nil {
				t.Fatal(err)
			}
			squares := 0.0
			for _, v := range values {
				squares += float64(v) * float64(v)
			}
			size := relative * math.Sqrt(squares/float64(len(values)))
			noise = make([]float32, len(values))
			for i := range values {
				noise[i] = float32(size * math.Sin(float64(i)*float64(i)))
				values[i] += noise[i]
			}
			tensor = gguf.Float32Tensor(name, tensor.Shape, values)
		}
		tensors = append(tensors, tensor)
	}
	return gguf.Assemble(m.Metadata(), tensors), noise
}

func TestSensitivityPredictsTheDivergenceOfSmallErrors(t *testing.T) {
	base, tok, text := village(t)
	tokens := text(13)
	d := load(t, base, model.Options{})
	s := measure(t, d, tokens, 0, sensitivity.Options{Context: 128, Tokens: 4096, BOS: tok.BOS()})
	pool := product.NewPool(0)
	defer pool.Close()
	plain := infer.NewSession(d, tok, pool)
	for name, sens := range s {
		if strings.HasPrefix(name, "blk.1.") {
			continue // two of three layers say enough
		}
		changed, noise := noisy(t, base, name, 0.05)
		total, predicted := 0.0, 0.0
		for _, r := range sens.Rows {
			total += float64(r)
		}
		for i, e := range noise {
			row, column := i/len(sens.Columns), i%len(sens.Columns)
			predicted += float64(sens.Rows[row]) * float64(sens.Columns[column]) / total * float64(e) * float64(e) / 2
		}
		got, err := infer.NewSession(load(t, changed, model.Options{}), tok, pool).Compare(context.Background(), plain, tokens,
			infer.PerplexityOptions{Context: 128, Chunks: 16})
		if err != nil {
			t.Fatal(err)
		}
		kl := got.KL.Mean.Value
		t.Logf("%-24s predicted %.3g, measured %.3g", name, predicted, kl)
		if kl > 3*predicted || predicted > 3*kl {
			t.Errorf("%s: predicted %.3g, measured %.3g", name, predicted, kl)
		}
	}
}

func TestSensitivityIsTheEnergyOfGradients(t *testing.T) {
	m := fixtures.TinyLlama(5, fixtures.Shape{Experts: 4, Untied: true, Layers: 1})
	tokens := make([]int32, 64*24)
	for i := range tokens {
		tokens[i] = int32(i * i % 61)
	}
	s := measure(t, load(t, m, model.Options{}), tokens, 0, sensitivity.Options{Context: 24, BOS: -1})
	// The gradients of all weights, for tokens that are as likely as any in random models.
	d := load(t, m, model.Options{TrainWeights: true})
	pool := product.NewPool(0)
	defer pool.Close()
	tape := nn.NewTape(pool)
	squares := map[string]float64{}
	for w := 0; w+24 < len(tokens); w += 24 {
		for _, p := range d.Params() {
			p.Train()
			clear(p.Grad)
		}
		tape.Reset(true)
		hidden := d.Hidden(tape, model.NewBatch(tokens[w:w+24], []int{0}), nil, false)
		targets := make([]int32, 24)
		for i := range targets {
			targets[i] = draw(d, tape, hidden, i, float64((w+i)*7919%1000)/1000)
		}
		d.Loss(tape, hidden, nn.Targets{IDs: targets}, 1)
		tape.Backward()
		for _, p := range d.Params() {
			for _, g := range p.Grad {
				squares[p.Name] += float64(g) * float64(g) / float64(len(tokens))
			}
		}
	}
	for name, sens := range s {
		rows, columns := 0.0, 0.0
		for _, r := range sens.Rows {
			rows += float64(r)
		}
		for _, c := range sens.Columns {
			columns += float64(c)
		}
		want := squares[name]
		t.Logf("%-26s rows %.3g, columns %.3g, gradients %.3g", name, rows, columns, want)
		if math.Abs(rows/want-1) > 0.35 || math.Abs(columns/want-1) > 0.35 {
			t.Errorf("%s: energy %.3g by rows, %.3g by columns, %.3g by the gradients themselves", name, rows, columns, want)
		}
	}
}

// draw draws a token from the prediction at a row.
func draw(d *model.Decoder, t *nn.Tape, hidden *nn.Var, row int, where float64) (id int32) {
	t.Scoped(func() {
		p := d.Logits(t, nn.Constant(hidden.Row(row), 1, hidden.Cols)).Data
		vector.Softmax(p, p)
		total := 0.0
		for i, q := range p {
			if total += float64(q); total > where {
				id = int32(i)
				return
			}
		}
	})
	return id
}

func TestSensitivityDoesNotDependOnThreads(t *testing.T) {
	base, tok, text := village(t)
	tokens := text(14)
	opt := sensitivity.Options{Context: 64, Tokens: 256, BOS: tok.BOS()}
	one := measure(t, load(t, base, model.Options{}), tokens, 1, opt)
	if diff := cmp.Diff(one, measure(t, load(t, base, model.Options{}), tokens, 3, opt)); diff != "" {
		t.Errorf("on one thread and on three:\n%s", diff)
	}
}

func TestMeasuringLeavesTheModelAsItWas(t *testing.T) {
	base, tok, text := village(t)
	d, tokens := load(t, base, model.Options{}), text(15)
	pool := product.NewPool(1)
	defer pool.Close()
	perplexity := func() float64 {
		p, err := infer.NewSession(d, tok, pool).Perplexity(context.Background(), tokens, infer.PerplexityOptions{Context: 64, Chunks: 4})
		if err != nil {
			t.Fatal(err)
		}
		return p.Value
	}
	before := perplexity()
	measure(t, d, tokens, 1, sensitivity.Options{Context: 64, Tokens: 128, BOS: -1})
	if after := perplexity(); after != before {
		t.Errorf("perplexity %g before, %g after", before, after)
	}
	for _, bad := range []sensitivity.Options{{Context: 1}, {Context: 1 << 20}, {Tokens: 10}} {
		if _, err := sensitivity.Measure(context.Background(), d, tokens, pool, bad); err == nil {
			t.Errorf("%+v was accepted", bad)
		}
	}
}

func TestEveryFamilyCanBeMeasured(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join(sharedtest.Path(t, "golden/archs"), "*.gguf"))
	if err != nil {
		t.Fatal(err)
	}
	tokens := sharedtest.Tokens(t)
	for _, path := range paths {
		f, err := gguf.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		d, err := model.Load(f, model.Options{})
		if err != nil {
			continue // an adapter, or a family that is not computed
		}
		s := measure(t, d, tokens, 2, sensitivity.Options{Context: 24, BOS: -1})
		p, err := quantize.NewTargetPlan(context.Background(), f, quantize.Options{}, quantize.Target{BitsPerWeight: 20, Sensitivity: s})
		if err != nil {
			t.Errorf("%s: %v", filepath.Base(path), err)
			continue
		}
		if !(p.Target.Cost > 0 && p.Target.Cost < 1) {
			t.Errorf("%s: estimated KL divergence %g", filepath.Base(path), p.Target.Cost)
		}
		for _, tensor := range p.Tensors {
			perHead := strings.Contains(tensor.Name, ".attn_k_b.") || strings.Contains(tensor.Name, ".attn_v_b.") // no pair binds to them
			if tensor.Estimate != nil && s[tensor.Name] == nil && !perHead {
				t.Errorf("%s: %s was not measured", filepath.Base(path), tensor.Name)
			}
		}
	}
}

func TestAMeasurementThatWasStoppedCanBeRepeated(t *testing.T) {
	d, ids := load(t, fixtures.TinyLlama(3, fixtures.Shape{Experts: 4}), model.Options{}), make([]int32, 400)
	for i := range ids {
		ids[i] = int32(i * i % d.Vocabulary)
	}
	opt := sensitivity.Options{Context: 100, BOS: -1}
	begin := time.Now()
	want := measure(t, d, ids, 2, opt)
	took := time.Since(begin)
	pool := product.NewPool(2)
	defer pool.Close()
	for i := range 6 {
		ctx, cancel := context.WithTimeout(t.Context(), took*time.Duration(i)/8)
		if _, err := sensitivity.Measure(ctx, d, ids, pool, opt); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		cancel()
		got, err := sensitivity.Measure(t.Context(), d, ids, pool, opt)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("other values after stop %d, %v", i, err)
		}
	}
}
