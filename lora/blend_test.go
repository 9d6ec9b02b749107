package lora_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"gonum.org/v1/gonum/mat"

	"qtool/fixtures"
	"qtool/internal/usage"
	"qtool/lora"
)

func resized(t *testing.T, a *lora.Adapter, o lora.Resizing) (*lora.Adapter, []lora.Fit) {
	t.Helper()
	out, fits, err := a.Resize(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	return out, fits
}

func TestAResizedPairIsTheNearestOfItsRank(t *testing.T) {
	for _, family := range []string{"llama", "deepseek2", "qwen2moe", "gpt-oss"} {
		base := fixtures.TinyFamily(1, family)
		a := adapterOn(t, base, 6, 3)
		for _, rank := range []int{1, 4, 6} {
			small, fits := resized(t, a, lora.Resizing{Rank: rank})
			if small.Alpha/float32(rank) != a.Alpha/6 {
				t.Errorf("%s: alpha %g", family, small.Alpha)
			}
			for i := range a.Pairs {
				p := &small.Pairs[i]
				some, all := 0.0, 0.0
				for m, d := range deltas(t, a, &a.Pairs[i]) {
					values := full(d)
					for k, v := range values {
						if all += v * v; k < rank {
							some += v * v
						}
					}
					best := math.Sqrt(1 - shareOf(values, rank))
					if got := distance(deltas(t, small, p)[m], d); got > best+1e-6 {
						t.Errorf("%s: %s to rank %d: the residual is %g, the least is %g", family, p.Tensor, rank, got, best)
					}
				}
				if p.Rank() != rank || math.Abs(fits[i].Kept-some/all) > 1e-6 {
					t.Errorf("%s: %s has rank %d, %g is said to be kept, %g is", family, p.Tensor, p.Rank(), fits[i].Kept, some/all)
				}
			}
		}
		small, fits := resized(t, a, lora.Resizing{Energy: 0.8})
		for i := range a.Pairs {
			enough, one := false, true // of the rank, and of one less
			some, all := 0.0, 0.0
			for _, d := range deltas(t, a, &a.Pairs[i]) {
				values := full(d)
				r := small.Pairs[i].Rank()
				enough, one = enough || shareOf(values, r) >= 0.8, one && (r == 1 || shareOf(values, r-1) >= 0.8)
				some, all = some+shareOf(values, r), all+1
			}
			if !enough || one && small.Pairs[i].Rank() > 1 || fits[i].Kept < 0.8 {
				t.Errorf("%s: %s: rank %d holds %g: %+v", family, a.Pairs[i].Tensor, small.Pairs[i].Rank(), some/all, fits[i])
			}
		}
		back, _ := resized(t, small, lora.Resizing{Rank: 9, Seed: 1})
		sameDeltas(t, back, small, 1e-6)
	}
}

func TestAPairThatGrowsMakesTheSameChange(t *testing.T) {
	base := fixtures.TinyLlama(1, fixtures.Shape{Dim: 64, Experts: 4, Untied: true})
	a := adapterOn(t, base, 3, 3)
	for i := range a.Pairs {
		if p := &a.Pairs[i]; len(p.B.Shape) > 2 { // one expert is idle
			clear(p.A.Values[:len(p.A.Values)/4])
			clear(p.B.Values[:len(p.B.Values)/4])
		}
	}
	large, fits := resized(t, a, lora.Resizing{Rank: 8, Seed: 5})
	for i, p := range large.Pairs {
		old := a.Pairs[i]
		if fits[i].Kept != 1 || p.Rank() != 8 {
			t.Errorf("%+v", fits[i])
		}
		x, y := deltas(t, large, &p), deltas(t, a, &old)
		for m := range x {
			if !mat.Equal(x[m], y[m]) {
				t.Errorf("%s: the change is another", p.Tensor)
			}
		}
		zero := func(h lora.Half) (n int) {
			for _, v := range h.Values {
				if v == 0 {
					n++
				}
			}
			return n
		}
		random := p.A
		if p.Tensor == "token_embd.weight" {
			random = p.B
		}
		want := 0
		if len(p.A.Shape) > 2 {
			want = len(p.A.Values) / 4 // the idle expert stays so
		}
		if n := zero(random); n != want {
			t.Errorf("%s: %d values are zero and cannot be trained, expected %d", p.Tensor, n, want)
		}
	}
	other, _ := resized(t, a, lora.Resizing{Rank: 8, Seed: 5, Threads: 3})
	if !reflect.DeepEqual(large, other) {
		t.Error("the same seed gives something else")
	}
	if other, _ = resized(t, a, lora.Resizing{Rank: 8, Seed: 6}); reflect.DeepEqual(large, other) {
		t.Error("another seed gives the same")
	}
	if _, _, err := a.Resize(context.Background(), lora.Resizing{Rank: 5000}); !errors.Is(err, usage.Err) {
		t.Errorf("a rank of 5000: %v", err)
	}
	a.Pairs[0].A.Shape = append(a.Pairs[0].A.Shape, 1)
	a.Pairs[0].A.Shape[1], a.Pairs[0].A.Shape[2] = 1, 3
	if _, _, err := a.Resize(context.Background(), lora.Resizing{Rank: 2}); !errors.Is(err, lora.ErrInvalid) {
		t.Errorf("halves of other stacks: %v", err)
	}
}

func blend(t *testing.T, o lora.Blending, of ...lora.Scaled) (*lora.Adapter, []lora.Fit) {
	t.Helper()
	a, fits, err := lora.Blend(context.Background(), o, of...)
	if err != nil {
		t.Fatal(err)
	}
	return a, fits
}

// sum is Σ strength · what each changes, of one tensor and matrix.
func sum(t *testing.T, tensor string, m int, of []lora.Scaled) *mat.Dense {
	t.Helper()
	var out *mat.Dense
	for _, s := range of {
		p := pairFor(s.Adapter, tensor)
		if p == nil {
			continue
		}
		d := deltas(t, s.Adapter, p)[m]
		d.Scale(float64(s.Strength), d)
		if out == nil {
			out = d
		} else {
			out.Add(out, d)
		}
	}
	return out
}

func TestConcatenationIsTheSumAndCutsToTheBestOfARank(t *testing.T) {
	base := fixtures.TinyLlama(1, fixtures.Shape{Dim: 64, Experts: 4, Untied: true})
	a, b := adapterOn(t, base, 3, 1), adapterOn(t, base, 2, 2)
	b.Alpha = 0
	b.Pairs = slices.DeleteFunc(b.Pairs, func(p lora.Pair) bool { return p.Tensor == "blk.0.attn_q.weight" })
	of := []lora.Scaled{{Adapter: a, Strength: 0.7}, {Adapter: b, Strength: -2}}
	joined, fits := blend(t, lora.Blending{Method: lora.Concat}, of...)
	cut, cutFits := blend(t, lora.Blending{Method: lora.Linear, Rank: 2}, of...)
	for i := range joined.Pairs {
		p, c := &joined.Pairs[i], &cut.Pairs[i]
		want := 5
		if p.Tensor == "blk.0.attn_q.weight" {
			want = 3
		}
		if p.Rank() != want || c.Rank() != 2 || fits[i].Kept != 1 {
			t.Errorf("%s: ranks %d and %d, %+v", p.Tensor, p.Rank(), c.Rank(), fits[i])
		}
		some, all := 0.0, 0.0
		for m := range deltas(t, joined, p) {
			d := sum(t, p.Tensor, m, of)
			if e := distance(deltas(t, joined, p)[m], d); e > 1e-6 {
				t.Errorf("%s differs from the sum by %g", p.Tensor, e)
			}
			values := full(d)
			if e, best := distance(deltas(t, cut, c)[m], d), math.Sqrt(1-shareOf(values, 2)); e > best+1e-6 {
				t.Errorf("%s: cut to rank 2 %g is lost, %g must be", p.Tensor, e, best)
			}
			n := mat.Norm(d, 2)
			some, all = some+shareOf(values, 2)*n*n, all+n*n
		}
		if math.Abs(cutFits[i].Kept-some/all) > 1e-6 {
			t.Errorf("%s: %+v, %g is kept", p.Tensor, cutFits[i], some/all)
		}
	}
	if joined.Alpha != 5 || !joined.MergeOnly {
		t.Errorf("alpha %g, merge only %v", joined.Alpha, joined.MergeOnly)
	}
}

func TestLinearOnFactorsAddsHalves(t *testing.T) {
	base := fixtures.TinyLlama(1, fixtures.Shape{Dim: 64})
	a, b := adapterOn(t, base, 3, 1), adapterOn(t, base, 3, 2)
	of := []lora.Scaled{{Adapter: a, Strength: 0.5}, {Adapter: b, Strength: -1}}
	got, _ := blend(t, lora.Blending{Method: lora.Linear, Factors: true}, of...)
	for i, p := range got.Pairs {
		wa, wb := math.Sqrt(0.5*4/3), math.Sqrt(4/3.)
		half := func(x, y lora.Half, wx, wy float64) lora.Half {
			out := lora.Half{Shape: x.Shape}
			for k := range x.Values {
				out.Values = append(out.Values, float32(wx*float64(x.Values[k])+wy*float64(y.Values[k])))
			}
			return out
		}
		want := lora.Adapter{Pairs: []lora.Pair{{Tensor: p.Tensor, A: half(a.Pairs[i].A, b.Pairs[i].A, wa, wb), B: half(a.Pairs[i].B, b.Pairs[i].B, wa, -wb)}}}
		if e := distance(deltas(t, got, &p)[0], deltas(t, &want, &want.Pairs[0])[0]); e > 1e-6 {
			t.Errorf("%s differs by %g", p.Tensor, e)
		}
	}
	// Of one adapter, and of one twice with halves of its strength, it is the change itself.
	one, _ := blend(t, lora.Blending{Method: lora.Linear, Factors: true}, lora.Scaled{Adapter: a, Strength: 0.25}, lora.Scaled{Adapter: a, Strength: 0.25})
	want, _ := blend(t, lora.Blending{Method: lora.Concat}, lora.Scaled{Adapter: a, Strength: 1})
	sameDeltas(t, one, want, 1e-6)
	c := adapterOn(t, base, 2, 2)
	if _, _, err := lora.Blend(context.Background(), lora.Blending{Method: lora.Linear, Factors: true}, of[0], lora.Scaled{Adapter: c, Strength: 1}); !errors.Is(err, usage.Err) {
		t.Errorf("other ranks: %v", err)
	}
}

// rankOne is an adapter with one pair whose change has the given values in its first row.
func rankOne(base *lora.Adapter, values ...float32) *lora.Adapter {
	p := base.Pairs[0]
	rows, columns := p.B.Shape[1], p.A.Shape[0]
	a := make([]float32, columns)
	copy(a, values)
	b := make([]float32, rows)
	b[0] = 1
	return &lora.Adapter{Architecture: base.Architecture, Pairs: []lora.Pair{{
		Tensor: p.Tensor, A: lora.Half{Shape: []int{columns, 1}, Values: a}, B: lora.Half{Shape: []int{1, rows}, Values: b},
	}}}
}

func TestTIESTrimsElectsAndTakesTheMean(t *testing.T) {
	base := fixtures.TinyLlama(1, fixtures.Shape{})
	like := adapterOn(t, base, 1, 1)
	rows, columns := like.Pairs[0].B.Shape[1], like.Pairs[0].A.Shape[0]
	keep := func(n int) float64 { return (float64(n) + 0.5) / float64(rows*columns) }
	// Three values of each are kept: 5 −4 3, −6 −2 7, and 1 1 1 with all that are as large.
	x, y, z := rankOne(like, 5, -4, 3, 2, 0, 1), rankOne(like, -6, -2, 1, 0, 7, -1), rankOne(like, 1, 1, -1, 1, 0, 0.5)
	of := []lora.Scaled{{Adapter: x, Strength: 1}, {Adapter: y, Strength: 1}, {Adapter: z, Strength: 1}}
	got, fits := blend(t, lora.Blending{Method: lora.TIES, Density: keep(3)}, of...)
	//  5 −6  1: 0, so positive: (5+1)/2;  −4 −2 1: −3;  3 0 −1: 3;  0 0 1: 1;  0 7 0: 7;  0
	want := []float64{3, -3, 3, 1, 7, 0}
	check := func(name string, got *lora.Adapter, want []float64) {
		t.Helper()
		d := deltas(t, got, &got.Pairs[0])[0]
		for c := range columns {
			w := 0.0
			if c < len(want) {
				w = want[c]
			}
			if v := d.At(0, c); math.Abs(v-w) > 1e-5 {
				t.Errorf("%s: value %d is %g, expected %g", name, c, v, w)
			}
		}
	}
	check("of changes", got, want)
	if got.Pairs[0].Rank() != 1 || fits[0].Kept < 0.999999 {
		t.Errorf("%+v", fits[0])
	}
	// Strengths count in the election and in the mean: 5 −18 1: −18; −4 −6 1: −5; …
	of[1].Strength = 3
	got, _ = blend(t, lora.Blending{Method: lora.TIES, Density: keep(3)}, of...)
	check("with a strength", got, []float64{-18, -5, 3, 1, 21, 0})
	// A pair that stands alone is kept whole.
	got, _ = blend(t, lora.Blending{Method: lora.TIES, Density: keep(1)}, of[1])
	check("alone", got, []float64{-18, -6, 3, 0, 21, -3})
	// On factors, A is blended by itself; B, all of the same sign and size, is its own mean.
	of[1].Strength = 1
	got, _ = blend(t, lora.Blending{Method: lora.TIES, Factors: true, Density: 3.5 / float64(columns)}, of...)
	check("of factors", got, want)
}

// tiesOf is TIES by its definition, in float64 and of whole vectors.
func tiesOf(density float64, of [][]float64) []float64 {
	out := make([]float64, len(of[0]))
	for i, v := range of {
		order := slices.Clone(v)
		for k := range order {
			order[k] = math.Abs(order[k])
		}
		slices.Sort(order)
		least := order[len(v)-int(density*float64(len(v)))]
		of[i] = slices.Clone(v)
		for k := range v {
			if math.Abs(v[k]) < least {
				of[i][k] = 0
			}
		}
	}
	for k := range out {
		total, sum, n := 0.0, 0.0, 0
		for _, v := range of {
			total += v[k]
		}
		sign := math.Copysign(1, total)
		for _, v := range of {
			if v[k]*sign > 0 {
				sum += v[k]
				n++
			}
		}
		if n > 0 {
			out[k] = sum / float64(n)
		}
	}
	return out
}

func TestTIESOfChangesIsItsDefinitionForStacksToo(t *testing.T) {
	base := fixtures.TinyLlama(1, fixtures.Shape{Dim: 32, FF: 32, Layers: 1, Experts: 3, Untied: true})
	a, b, c := adapterOn(t, base, 3, 1), adapterOn(t, base, 2, 2), adapterOn(t, base, 4, 3)
	of := []lora.Scaled{{Adapter: a, Strength: 1}, {Adapter: b, Strength: 0.5}, {Adapter: c, Strength: -1}}
	got, fits := blend(t, lora.Blending{Method: lora.TIES, Density: 0.3, Rank: 32}, of...)
	low, lowFits := blend(t, lora.Blending{Method: lora.TIES, Density: 0.3}, of...)
	for i := range got.Pairs {
		p := &got.Pairs[i]
		for m, d := range deltas(t, got, p) {
			var parts [][]float64
			for _, s := range of {
				parts = append(parts, sum(t, p.Tensor, m, []lora.Scaled{s}).RawMatrix().Data)
			}
			rows, columns := d.Dims()
			want := mat.NewDense(rows, columns, tiesOf(0.3, parts))
			if e := distance(d, want); e > 1e-5 {
				t.Errorf("%s: matrix %d differs by %g", p.Tensor, m, e)
			}
			best := math.Sqrt(1 - shareOf(full(want), 4))
			if e := distance(deltas(t, low, &low.Pairs[i])[m], want); e > best*1.001+1e-5 {
				t.Errorf("%s: of rank 4, %g is lost, %g must be", p.Tensor, e, best)
			}
		}
		if fits[i].Kept < 0.9999 || low.Pairs[i].Rank() != min(4, p.Rank()) || lowFits[i].Kept > 1 {
			t.Errorf("%+v, %+v", fits[i], lowFits[i])
		}
	}
	again, _ := blend(t, lora.Blending{Method: lora.TIES, Density: 0.3, Threads: 3}, of...)
	if !reflect.DeepEqual(again, low) {
		t.Error("threads change the result")
	}
}

func TestDAREDropsAShareAndKeepsTheMean(t *testing.T) {
	base := fixtures.TinyLlama(1, fixtures.Shape{Dim: 64, FF: 64, Layers: 1})
	a, b := adapterOn(t, base, 3, 1), adapterOn(t, base, 3, 2)
	of := []lora.Scaled{{Adapter: a, Strength: 1}, {Adapter: b, Strength: 0}}
	const density = 0.4
	for seed := range uint64(3) {
		got, _ := blend(t, lora.Blending{Method: lora.DARE, Density: density, Rank: 64, Seed: seed}, of...)
		for i := range got.Pairs {
			d, want := deltas(t, got, &got.Pairs[i])[0], sum(t, got.Pairs[i].Tensor, 0, of)
			rows, columns := d.Dims()
			kept := 0
			for r := range rows {
				for c := range columns {
					switch v, w := d.At(r, c), want.At(r, c); {
					case math.Abs(v-w/density) < 1e-4*math.Abs(w)+1e-6:
						kept++
					case math.Abs(v) > 1e-5:
						t.Fatalf("%s: %g became %g", got.Pairs[i].Tensor, w, v)
					}
				}
			}
			if share := float64(kept) / float64(rows*columns); math.Abs(share-density) > 0.06 {
				t.Errorf("%s: %g are kept", got.Pairs[i].Tensor, share)
			}
		}
	}
	of[1].Strength = 1
	make := func(o lora.Blending) *lora.Adapter {
		o.Method, o.Density = lora.DARE, density
		a, _ := blend(t, o, of...)
		return a
	}
	first := make(lora.Blending{Seed: 1})
	if !reflect.DeepEqual(first, make(lora.Blending{Seed: 1, Threads: 3})) || reflect.DeepEqual(first, make(lora.Blending{Seed: 2})) {
		t.Error("the seed alone has to decide")
	}
	// With all values kept it is the sum, on factors the linear method.
	whole, _ := blend(t, lora.Blending{Method: lora.DARE, Density: 1, Rank: 6}, of...)
	joined, _ := blend(t, lora.Blending{Method: lora.Concat}, of...)
	sameDeltas(t, whole, joined, 1e-5)
	whole, _ = blend(t, lora.Blending{Method: lora.DARE, Density: 1, Factors: true}, of...)
	linear, _ := blend(t, lora.Blending{Method: lora.Linear, Factors: true}, of...)
	sameDeltas(t, whole, linear, 1e-6)
	// Of many masks, the mean of what factors become is what they were.
	mean := mat.NewDense(64, 64, nil)
	for seed := range uint64(400) {
		got, _ := blend(t, lora.Blending{Method: lora.DARE, Density: 0.7, Factors: true, Seed: seed}, of...)
		mean.Add(mean, deltas(t, got, pairFor(got, "blk.0.attn_q.weight"))[0])
	}
	mean.Scale(1./400, mean)
	if e := distance(mean, deltas(t, linear, pairFor(linear, "blk.0.attn_q.weight"))[0]); e > 0.12 {
		t.Errorf("the mean of DARE on factors differs by %g", e)
	}
}

func TestDARETIESElectsAmongWhatIsKept(t *testing.T) {
	base := fixtures.TinyLlama(1, fixtures.Shape{Dim: 32, FF: 32, Layers: 1})
	a, b := adapterOn(t, base, 3, 1), adapterOn(t, base, 3, 2)
	of := []lora.Scaled{{Adapter: a, Strength: 1}, {Adapter: b, Strength: 1}}
	got, _ := blend(t, lora.Blending{Method: lora.DARETIES, Density: 0.5, Rank: 32, Seed: 4}, of...)
	p := &got.Pairs[1]
	d, x, y := deltas(t, got, p)[0], sum(t, p.Tensor, 0, of[:1]), sum(t, p.Tensor, 0, of[1:])
	near := func(a, b float64) bool { return math.Abs(a-b) < 1e-4 }
	counts := map[string]int{}
	rows, columns := d.Dims()
	for r := range rows {
		for c := range columns {
			v, x, y := d.At(r, c), 2*x.At(r, c), 2*y.At(r, c)
			switch {
			case near(v, 0):
				counts["none"]++
			case near(v, x), near(v, y):
				counts["one"]++
			case x*y > 0 && near(v, (x+y)/2):
				counts["mean"]++
			default:
				t.Fatalf("%g and %g became %g", x, y, v)
			}
		}
	}
	n := float64(rows * columns)
	// Both are dropped in a quarter; both are kept and agree in an eighth.
	if math.Abs(float64(counts["none"])/n-0.25) > 0.08 || math.Abs(float64(counts["mean"])/n-0.125) > 0.08 {
		t.Errorf("%v of %g", counts, n)
	}
}

func TestWhatCannotBeBlendedIsRefused(t *testing.T) {
	base := fixtures.TinyLlama(1, fixtures.Shape{})
	a := adapterOn(t, base, 2, 1)
	wide, other := adapterOn(t, fixtures.TinyLlama(1, fixtures.Shape{Dim: 64}), 2, 1), adapterOn(t, base, 2, 1)
	other.Architecture = "qwen3"
	for name, c := range map[string]struct {
		o    lora.Blending
		b    *lora.Adapter
		want error
	}{
		"no method":                {lora.Blending{Method: "mean"}, a, usage.Err},
		"no density":               {lora.Blending{Method: lora.TIES}, a, usage.Err},
		"a density above 1":        {lora.Blending{Method: lora.DARE, Density: 1.1}, a, usage.Err},
		"a density that is none":   {lora.Blending{Method: lora.DARE, Density: math.NaN()}, a, usage.Err},
		"factors of concatenation": {lora.Blending{Method: lora.Concat, Factors: true}, a, usage.Err},
		"a negative rank":          {lora.Blending{Method: lora.Concat, Rank: -1}, a, usage.Err},
		"another architecture":     {lora.Blending{Method: lora.Concat}, other, lora.ErrMismatch},
		"another width":            {lora.Blending{Method: lora.TIES, Density: 0.5}, wide, lora.ErrMismatch},
	} {
		if _, _, err := lora.Blend(context.Background(), c.o, lora.Scaled{Adapter: a, Strength: 1}, lora.Scaled{Adapter: c.b, Strength: 1}); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, _, err := lora.Blend(ctx, lora.Blending{Method: lora.Concat}, lora.Scaled{Adapter: a, Strength: 1}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, _, err := a.Resize(ctx, lora.Resizing{Rank: 1}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func FuzzTIESThreshold(f *testing.F) {
	f.Add(uint64(1), uint16(100), uint8(30))
	f.Fuzz(func(t *testing.T, seed uint64, size uint16, percent uint8) {
		n, share := int(size)%300+2, float64(percent%100+1)/100
		rng := rand.New(rand.NewPCG(seed, 1))
		parts := [][]float64{make([]float64, n), make([]float64, n)}
		x, y := make([]float32, n), make([]float32, n)
		for i := range n {
			x[i], y[i] = float32(math.Ldexp(rng.NormFloat64(), rng.IntN(20)-10)), float32(rng.IntN(9)-4)
			parts[0][i], parts[1][i] = float64(x[i]), float64(y[i])
		}
		pair := func(v []float32) *lora.Adapter {
			return &lora.Adapter{Architecture: "llama", Pairs: []lora.Pair{{Tensor: "blk.0.attn_q.weight", A: lora.Half{Shape: []int{n, 1}, Values: v}, B: lora.Half{Shape: []int{1, 1}, Values: []float32{1}}}}}
		}
		if int(share*float64(n)) == 0 {
			return
		}
		got, _ := blend(t, lora.Blending{Method: lora.TIES, Density: share}, lora.Scaled{Adapter: pair(x), Strength: 1}, lora.Scaled{Adapter: pair(y), Strength: 1})
		want := mat.NewDense(1, n, tiesOf(share, parts))
		if e := distance(deltas(t, got, &got.Pairs[0])[0], want); e > 1e-5 {
			t.Errorf("differs by %g", e)
		}
	})
}
