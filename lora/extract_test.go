package lora_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gonum.org/v1/gonum/mat"

	"qtool/fixtures"
	"qtool/gguf"
	"qtool/internal/usage"
	"qtool/lora"
	"qtool/quantize"
)

// deltas are the changes that an adapter makes to the matrices of a tensor, rows × columns.
func deltas(t *testing.T, a *lora.Adapter, p *lora.Pair) (of []*mat.Dense) {
	t.Helper()
	rows, columns, count := p.B.Shape[1], p.A.Shape[0], 1
	if p.Tensor == "token_embd.weight" {
		rows, columns = p.A.Shape[1], p.B.Shape[1]
	}
	if len(p.B.Shape) > 2 {
		count = p.B.Shape[2]
	}
	zero := gguf.Float32Tensor(p.Tensor, []int{columns, rows, count}, make([]float32, rows*columns*count))
	values := expected(t, zero, *p, float64(a.Scale(p.Rank())))
	for m := range count {
		of = append(of, mat.NewDense(rows, columns, values[m*rows*columns:][:rows*columns]))
	}
	return of
}

func pairFor(a *lora.Adapter, tensor string) *lora.Pair {
	for i := range a.Pairs {
		if a.Pairs[i].Tensor == tensor {
			return &a.Pairs[i]
		}
	}
	return nil
}

// distance is ‖a−b‖/‖b‖.
func distance(a, b *mat.Dense) float64 {
	var d mat.Dense
	d.Sub(a, b)
	return mat.Norm(&d, 2) / max(mat.Norm(b, 2), 1e-300)
}

// sameDeltas compares what two adapters change.
func sameDeltas(t *testing.T, got, want *lora.Adapter, limit float64) {
	t.Helper()
	if len(got.Pairs) != len(want.Pairs) {
		t.Errorf("%d pairs, expected %d", len(got.Pairs), len(want.Pairs))
	}
	for i := range want.Pairs {
		p := pairFor(got, want.Pairs[i].Tensor)
		if p == nil {
			t.Errorf("there is no pair for %s", want.Pairs[i].Tensor)
			continue
		}
		for m, d := range deltas(t, want, &want.Pairs[i]) {
			if e := distance(deltas(t, got, p)[m], d); e > limit {
				t.Errorf("%s: matrix %d differs by %g", p.Tensor, m, e)
			}
		}
	}
}

// honouredOn is adapterOn without the pairs that llama.cpp does not honour.
func honouredOn(t *testing.T, base gguf.Model, rank int, seed uint64) *lora.Adapter {
	t.Helper()
	a := adapterOn(t, base, rank, seed)
	targets, err := lora.Targets(base)
	if err != nil {
		t.Fatal(err)
	}
	a.MergeOnly = false
	a.Pairs = slices.DeleteFunc(a.Pairs, func(p lora.Pair) bool {
		return slices.ContainsFunc(targets, func(g lora.Target) bool { return g.Tensor == p.Tensor && g.Refused != "" })
	})
	return a
}

func extract(t *testing.T, base, tuned gguf.Model, o lora.Extracting) *lora.Extraction {
	t.Helper()
	x, err := lora.Extract(context.Background(), base, tuned, o)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func TestExtractingFindsTheAdapterThatWasMergedInEveryFamily(t *testing.T) {
	for _, family := range fixtures.Families() {
		base := fixtures.TinyFamily(1, family)
		a := honouredOn(t, base, 3, 1)
		tuned := sumOf(t, base, nil, lora.Scaled{Adapter: a, Strength: 0.7}).Model()
		for name, o := range map[string]lora.Extracting{"rank": {Rank: 3, Seed: 42}, "energy": {Energy: 0.99999, Seed: 7}} {
			x := extract(t, base, tuned, o)
			want, err := lora.Combine(lora.Scaled{Adapter: a, Strength: 0.7})
			if err != nil {
				t.Fatal(err)
			}
			// What is added to weights of about 1 is rounded in their last bit.
			sameDeltas(t, x.Adapter, want, 1e-4)
			if len(x.Left)+len(x.Noise)+len(x.Settings) > 0 {
				t.Errorf("%s by %s: left %v, noise %v, settings %v", family, name, x.Left, x.Noise, x.Settings)
			}
			for _, f := range x.Fits {
				if f.Kept < 0.9999 || f.Rank > 3 || f.Short {
					t.Errorf("%s by %s: %+v", family, name, f)
				}
			}
			if x.Adapter.MergeOnly {
				t.Errorf("%s: merge only", family)
			}
		}
	}
}

// withTensor is m with other values of a tensor.
func withTensor(m gguf.Model, name string, change func(i int, v float32) float32) gguf.Model {
	var tensors []*gguf.Tensor
	for _, x := range m.Tensors() {
		if x.Name == name {
			values, _ := quantize.Decode(x)
			for i, v := range values {
				values[i] = change(i, v)
			}
			x = gguf.Float32Tensor(name, x.Shape, values)
		}
		tensors = append(tensors, x)
	}
	return gguf.Assemble(m.Metadata(), tensors)
}

func TestAKnownDifferenceComesBackExactly(t *testing.T) {
	const name, rank = "blk.0.ffn_up.weight", 4
	base := withTensor(fixtures.TinyLlama(1, fixtures.Shape{Dim: 96, FF: 160}), name, func(int, float32) float32 { return 0 })
	a := adapterOn(t, base, rank, 1)
	a.Pairs = slices.DeleteFunc(a.Pairs, func(p lora.Pair) bool { return p.Tensor != name })
	tuned := sumOf(t, base, nil, lora.Scaled{Adapter: a, Strength: 1}).Model()
	x := extract(t, base, tuned, lora.Extracting{Rank: rank})
	sameDeltas(t, x.Adapter, a, 1e-6)
	if x.Adapter.Alpha != rank || len(x.Unchanged) != len(base.Tensors())-1 {
		t.Errorf("alpha %g, unchanged %d of %d", x.Adapter.Alpha, len(x.Unchanged), len(base.Tensors()))
	}
}

// full is the singular values of a matrix.
func full(m *mat.Dense) []float64 {
	var svd mat.SVD
	svd.Factorize(m, mat.SVDNone)
	return svd.Values(nil)
}

// shareOf is what the first n singular values hold.
func shareOf(values []float64, n int) float64 {
	some, all := 0.0, 0.0
	for i, v := range values {
		if all += v * v; i < n {
			some += v * v
		}
	}
	return some / all
}

func TestExtractedPairsAreAsNearAsAnyOfTheirRank(t *testing.T) {
	const name = "blk.0.ffn_up.weight"
	base := withTensor(fixtures.TinyLlama(1, fixtures.Shape{Dim: 128, FF: 192}), name, func(int, float32) float32 { return 0 })
	rng := rand.New(rand.NewPCG(1, 2))
	for _, c := range [][2]float64{{0, 2e-3}, {0.02, 1e-4}, {0.3, 1e-6}} {
		decay, limit := c[0], c[1]
		sum := mat.NewDense(192, 128, nil)
		for i := range 128 { // a sum of random outer products whose sizes decay
			u, v := make([]float64, 192), make([]float64, 128)
			for _, x := range [][]float64{u, v} {
				for k := range x {
					x[k] = rng.NormFloat64()
				}
			}
			sum.RankOne(sum, math.Exp(-decay*float64(i)), mat.NewVecDense(192, u), mat.NewVecDense(128, v))
		}
		raw := sum.RawMatrix().Data
		tuned := withTensor(base, name, func(i int, _ float32) float32 { return float32(raw[i]) })
		values := full(sum)
		for _, rank := range []int{1, 8, 40, 128} {
			x := extract(t, base, tuned, lora.Extracting{Rank: rank})
			best := shareOf(values, rank)
			got := deltas(t, x.Adapter, &x.Adapter.Pairs[0])[0]
			residual := distance(got, sum)
			if f := x.Fits[0]; f.Kept < best-limit || f.Kept > best+1e-5 || math.Abs(1-residual*residual-f.Kept) > 1e-5 {
				t.Errorf("decay %g, rank %d: %g is said to be kept, %g is, %g is possible", decay, rank, f.Kept, 1-residual*residual, best)
			}
		}
		for _, share := range []float64{0.5, 0.95, 0.9999, 1} {
			x := extract(t, base, tuned, lora.Extracting{Energy: share})
			least := 1
			for shareOf(values, least) < share && least < len(values) {
				least++
			}
			if f := x.Fits[0]; f.Kept < share-1e-6 || share < 1 && f.Rank < least-1 || f.Rank > least+1+least/50 || f.Short {
				t.Errorf("decay %g: %+v for %g, the least rank is %d", decay, f, share, least)
			}
			if x := extract(t, base, tuned, lora.Extracting{Energy: share, Rank: 2}); x.Fits[0].Short != (least > 2) || x.Fits[0].Rank > 2 {
				t.Errorf("no more than 2: %+v", x.Fits[0])
			}
		}
	}
}

// A matrix that is not held between passes, in several chunks, is the same to the last bit.
func TestExtractingDoesNotDependOnThreadsButOnTheSeed(t *testing.T) {
	base := fixtures.TinyLlama(1, fixtures.Shape{Dim: 64, FF: 4096, Layers: 1, Experts: 3})
	other := fixtures.TinyLlama(2, fixtures.Shape{Dim: 64, FF: 4096, Layers: 1, Experts: 3})
	var first *lora.Extraction
	for _, threads := range []int{1, 2, 5} {
		x := extract(t, base, other, lora.Extracting{Rank: 4, Threads: threads, Targets: []string{"ffn_*_exps", "attn_q"}, Seed: 1})
		if first == nil {
			first = x
		}
		if !reflect.DeepEqual(x.Adapter.Pairs, first.Adapter.Pairs) {
			t.Errorf("%d threads make another adapter", threads)
		}
	}
	x := extract(t, base, other, lora.Extracting{Rank: 4, Targets: []string{"ffn_*_exps", "attn_q"}, Seed: 2})
	if reflect.DeepEqual(x.Adapter.Pairs, first.Adapter.Pairs) {
		t.Error("another seed makes the same adapter")
	}
	if len(x.Left) == 0 || x.Left[0].Why == "" {
		t.Errorf("left: %v", x.Left)
	}
}

func TestExpertsShareTheHighestRankThatOneNeeds(t *testing.T) {
	base := fixtures.TinyLlama(1, fixtures.Shape{Dim: 64, FF: 64, Layers: 1, Experts: 4})
	a := adapterOn(t, base, 5, 1)
	const name = "blk.0.ffn_up_exps.weight"
	a.Pairs = slices.DeleteFunc(a.Pairs, func(p lora.Pair) bool { return p.Tensor != name })
	p := &a.Pairs[0]
	size := len(p.B.Values) / 4
	clear(p.B.Values[:size]) // expert 0 does not change, expert 1 by rank 1
	for i := range p.B.Values[size : 2*size] {
		if i%5 > 0 {
			p.B.Values[size+i] = 0
		}
	}
	tuned := sumOf(t, base, nil, lora.Scaled{Adapter: a, Strength: 1}).Model()
	x := extract(t, base, tuned, lora.Extracting{Energy: 0.9999})
	sameDeltas(t, x.Adapter, a, 2e-2)
	got := x.Adapter.Pairs[0]
	if got.Rank() != 5 || len(got.A.Shape) != 3 || got.A.Shape[2] != 4 {
		t.Fatalf("shapes %v and %v", got.A.Shape, got.B.Shape)
	}
	used := func(m int) (n int) {
		for r := range 5 {
			if slices.ContainsFunc(got.A.Values[(m*5+r)*64:][:64], func(v float32) bool { return v != 0 }) {
				n++
			}
		}
		return n
	}
	if used(0) != 0 || used(1) != 1 || used(3) != 5 {
		t.Errorf("ranks %d, %d and %d are used", used(0), used(1), used(3))
	}
}

func TestWhatIsOnlyQuantizationGetsNoPair(t *testing.T) {
	f32 := fixtures.TinyLlama(1, fixtures.Shape{Dim: 256, FF: 512, Layers: 1, Untied: true})
	for _, types := range [][2]string{{"F32", "F16"}, {"BF16", "F32"}, {"F32", "Q4_0"}, {"Q8_0", "F32"}, {"Q4_K_M", "F16"}, {"Q4_0", "Q5_K_M"}, {"Q2_K", "F32"}} {
		models := [2]gguf.Model{f32, f32}
		for i, typ := range types {
			if typ != "F32" {
				models[i] = quantized(t, f32, typ)
			}
		}
		_, err := lora.Extract(context.Background(), models[0], models[1], lora.Extracting{Rank: 8})
		if !errors.Is(err, lora.ErrNoDifference) {
			t.Errorf("%v: %v", types, err)
			continue
		}
		t.Logf("%v: %v", types, err)
		// A change of the weights is found beside the noise.
		a := honouredOn(t, f32, 4, 3)
		a.Pairs = slices.DeleteFunc(a.Pairs, func(p lora.Pair) bool { return p.Tensor != "blk.0.attn_q.weight" })
		tuned := gguf.Model(sumOf(t, f32, nil, lora.Scaled{Adapter: a, Strength: 0.5}).Model())
		if types[1] != "F32" {
			tuned = quantized(t, tuned, types[1])
		}
		x := extract(t, models[0], tuned, lora.Extracting{Rank: 4})
		if len(x.Fits) != 1 || x.Fits[0].Tensor != "blk.0.attn_q.weight" || x.Fits[0].Noise <= 0 || len(x.Noise) == 0 {
			t.Errorf("%v: %+v", types, x.Fits)
			continue
		}
		if e := distance(deltas(t, x.Adapter, &x.Adapter.Pairs[0])[0], deltas(t, &lora.Adapter{Alpha: 4 * 0.5}, &a.Pairs[0])[0]); e > 0.6 {
			t.Errorf("%v: the change is missed by %g", types, e)
		}
	}
	// So is one of a few rows alone, which the sample of rows may not hold.
	q8 := quantized(t, f32, "Q8_0")
	rows := withTensor(f32, "token_embd.weight", func(i int, v float32) float32 {
		if i/256 == 5 {
			return v + float32(i%7-3)/100
		}
		return v
	})
	if x := extract(t, q8, rows, lora.Extracting{Rank: 1}); len(x.Fits) != 1 || x.Fits[0].Tensor != "token_embd.weight" {
		t.Errorf("%+v", x.Fits)
	}
	// On demand, what quantization lost is made a pair.
	x := extract(t, quantized(t, f32, "Q4_0"), f32, lora.Extracting{Rank: 8, Noise: true})
	if len(x.Fits) == 0 || x.Fits[0].Noise < 0.5 {
		t.Errorf("%+v", x.Fits)
	}
	// The difference of one unquantized type is what it is, however small.
	bf := quantized(t, f32, "BF16")
	near := withTensor(bf, "blk.0.attn_q.weight", func(i int, v float32) float32 { return math.Float32frombits(math.Float32bits(v) + uint32(i%2)<<16) })
	var tensors []*gguf.Tensor
	for _, x := range near.Tensors() {
		if x.Name == "blk.0.attn_q.weight" {
			x, _ = quantize.Convert(x, gguf.BF16, nil)
		}
		tensors = append(tensors, x)
	}
	if x := extract(t, bf, gguf.Assemble(bf.Metadata(), tensors), lora.Extracting{Rank: 8}); len(x.Fits) != 1 || x.Fits[0].Noise != 0 {
		t.Errorf("%+v, %v", x.Fits, x.Noise)
	}
}

func TestWhatNoPairCanHoldIsNamed(t *testing.T) {
	base := fixtures.TinyLlama(1, fixtures.Shape{})
	tuned := gguf.Model(base)
	add := func(i int, v float32) float32 { return v + float32(i%5) }
	for _, name := range []string{"token_embd.weight", "blk.0.attn_norm.weight", "output_norm.weight", "blk.1.attn_k.weight"} {
		tuned = withTensor(tuned, name, add)
	}
	md := base.Metadata().Clone()
	md.Set("llama.rope.freq_base", float32(7))
	tuned = gguf.Assemble(md, append(tuned.Tensors(), gguf.Float32Tensor("output.weight", []int{1, 1}, []float32{1})))
	x := extract(t, base, tuned, lora.Extracting{Rank: 2})
	var left []string
	for _, l := range x.Left {
		if left = append(left, l.Tensor); l.Why == "" || l.Change == 0 != (l.Tensor == "output.weight") {
			t.Errorf("%+v", l)
		}
	}
	slices.Sort(left)
	if diff := cmp.Diff([]string{"blk.0.attn_norm.weight", "output.weight", "output_norm.weight", "token_embd.weight"}, left); diff != "" {
		t.Error(diff)
	}
	if len(x.Fits) != 1 || x.Fits[0].Tensor != "blk.1.attn_k.weight" || len(x.Settings) != 1 {
		t.Errorf("%+v, %v", x.Fits, x.Settings)
	}
	if _, err := lora.Extract(context.Background(), base, withTensor(base, "output_norm.weight", add), lora.Extracting{Rank: 2}); !errors.Is(err, lora.ErrNoDifference) {
		t.Errorf("only a norm changed: %v", err)
	}
	if _, err := lora.Extract(context.Background(), base, base, lora.Extracting{Rank: 2}); !errors.Is(err, lora.ErrNoDifference) {
		t.Errorf("nothing changed: %v", err)
	}
}

func TestModelsThatAreNotAlikeAreNotCompared(t *testing.T) {
	base := fixtures.TinyLlama(1, fixtures.Shape{})
	spoiled := func(m gguf.Model, key string, v gguf.Value) gguf.Model {
		md := m.Metadata().Clone()
		md.Set(key, v)
		return gguf.Assemble(md, m.Tensors())
	}
	for name, tuned := range map[string]gguf.Model{
		"another architecture": spoiled(base, "general.architecture", "qwen3"),
		"wider":                fixtures.TinyLlama(1, fixtures.Shape{Dim: 64}),
		"more layers":          fixtures.TinyLlama(1, fixtures.Shape{Layers: 3}),
		"fewer layers":         fixtures.TinyLlama(1, fixtures.Shape{Layers: 1}),
		"experts":              fixtures.TinyLlama(1, fixtures.Shape{Experts: 4}),
		"other tokens":         spoiled(base, "tokenizer.ggml.tokens", []string{"a"}),
	} {
		from := gguf.Model(base)
		if name == "other tokens" {
			from = spoiled(base, "tokenizer.ggml.tokens", []string{"b"})
		}
		if _, err := lora.Extract(context.Background(), from, tuned, lora.Extracting{Rank: 2}); !errors.Is(err, lora.ErrUnlike) {
			t.Errorf("%s: %v", name, err)
		}
	}
	bad := withTensor(base, "blk.0.attn_q.weight", func(i int, v float32) float32 { return v / float32(min(i, 1)) })
	if _, err := lora.Extract(context.Background(), base, bad, lora.Extracting{Rank: 2}); !errors.Is(err, quantize.ErrInvalidWeights) {
		t.Errorf("a weight that is infinite: %v", err)
	}
	for _, o := range []lora.Extracting{{}, {Rank: -1}, {Energy: 1.5}, {Energy: -0.5}, {Energy: math.NaN()}} {
		if _, err := lora.Extract(context.Background(), base, base, o); !errors.Is(err, usage.Err) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := lora.Extract(ctx, base, fixtures.TinyLlama(2, fixtures.Shape{}), lora.Extracting{Rank: 2}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
