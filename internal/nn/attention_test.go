package nn

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"qtool/internal/kernel/product"
	"qtool/internal/kernel/simd"
	"qtool/internal/sharedtest"
)

func TestGradientsOfAttentionEqualCentralDifferences(t *testing.T) {
	for name, first := range map[string][]int32{
		"one document":    {0, 0, 0, 0, 0, 0},
		"three documents": {0, 0, 2, 3, 3, 3},
	} {
		for _, heads := range [][2]int{{4, 2}, {2, 2}, {3, 1}} {
			for option, set := range map[string]func(s *AttentionSpec){
				"plain":   func(s *AttentionSpec) {},
				"window":  func(s *AttentionSpec) { s.Window = 2 },
				"softcap": func(s *AttentionSpec) { s.Softcap = 0.8 },
				"sinks":   func(s *AttentionSpec) { s.Sinks = NewParam("sinks", s.Heads) },
				"all": func(s *AttentionSpec) {
					s.Window, s.Softcap, s.Sinks = 3, 1.5, NewParam("sinks", s.Heads)
				},
			} {
				t.Run(fmt.Sprint(name, heads, option), func(t *testing.T) {
					rng := rand.New(rand.NewPCG(7, 8))
					q := randomParam(rng, "q", heads[0]*4, 6)
					k, v := randomParam(rng, "k", heads[1]*4, 6), randomParam(rng, "v", heads[1]*3, 6)
					spec := AttentionSpec{Heads: heads[0], KVHeads: heads[1], HeadDim: 4, ValueDim: 3, Scale: 0.6, First: first}
					set(&spec)
					params := []*Param{q, k, v}
					if spec.Sinks != nil {
						spec.Sinks = randomParam(rng, "sinks", heads[0])
						params = append(params, spec.Sinks)
					}
					checkGradients(t, graph{params, func(t *Tape) (*Var, float64) {
						return t.Attention(variable(t, q), variable(t, k), variable(t, v), spec), 0
					}})
				})
			}
		}
	}
}

// attentionCase is attention over random data.
type attentionCase struct {
	name    string
	rows    int
	spec    AttentionSpec
	q, k, v *Param
	dy      []float32
}

func (c *attentionCase) keys() int { return c.rows + c.spec.Offset }

// fill makes the data; documents are the query rows at which one begins.
func (c attentionCase) fill(documents ...int) attentionCase {
	rng := rand.New(rand.NewPCG(21, 22))
	s := &c.spec
	s.First = make([]int32, c.rows)
	for _, d := range documents {
		for r := d; r < c.rows; r++ {
			s.First[r] = int32(s.Offset + d)
		}
	}
	c.q = randomParam(rng, "q", s.Heads*s.HeadDim, c.rows)
	c.k, c.v = randomParam(rng, "k", s.KVHeads*s.HeadDim, c.keys()), randomParam(rng, "v", s.KVHeads*s.ValueDim, c.keys())
	c.dy = randomParam(rng, "dy", s.Heads*s.ValueDim, c.rows).Data
	if s.Sinks != nil {
		s.Sinks = randomParam(rng, "sinks", s.Heads)
	}
	return c
}

// attentionCases reach over several blocks of rows and keys.
func attentionCases() []attentionCase {
	sinks := NewParam("sinks", 0)
	return []attentionCase{
		attentionCase{name: "one head", rows: 131, spec: AttentionSpec{Heads: 1, KVHeads: 1, HeadDim: 8, ValueDim: 8, Scale: 0.4}}.fill(),
		attentionCase{name: "grouped heads", rows: 150, spec: AttentionSpec{Heads: 14, KVHeads: 2, HeadDim: 16, ValueDim: 16, Scale: 0.25}}.fill(),
		attentionCase{name: "many query heads", rows: 3, spec: AttentionSpec{Heads: 120, KVHeads: 1, HeadDim: 5, ValueDim: 3, Scale: 1}}.fill(),
		attentionCase{name: "odd sizes", rows: 137, spec: AttentionSpec{Heads: 6, KVHeads: 2, HeadDim: 13, ValueDim: 7, Scale: 0.3}}.fill(),
		attentionCase{name: "cached rows", rows: 37, spec: AttentionSpec{Heads: 4, KVHeads: 2, HeadDim: 8, ValueDim: 12, Scale: 0.3, Offset: 245}}.fill(),
		attentionCase{name: "one row", rows: 1, spec: AttentionSpec{Heads: 4, KVHeads: 1, HeadDim: 8, ValueDim: 8, Scale: 0.3, Offset: 300}}.fill(),
		attentionCase{name: "documents", rows: 300, spec: AttentionSpec{Heads: 4, KVHeads: 2, HeadDim: 8, ValueDim: 8, Scale: 0.3}}.fill(1, 2, 40, 170),
		attentionCase{name: "window", rows: 400, spec: AttentionSpec{Heads: 2, KVHeads: 2, HeadDim: 8, ValueDim: 8, Scale: 0.3, Window: 130}}.fill(20),
		attentionCase{name: "window of one", rows: 140, spec: AttentionSpec{Heads: 2, KVHeads: 1, HeadDim: 8, ValueDim: 8, Scale: 0.3, Window: 1}}.fill(),
		attentionCase{name: "softcap", rows: 140, spec: AttentionSpec{Heads: 2, KVHeads: 1, HeadDim: 8, ValueDim: 8, Scale: 0.7, Softcap: 2}}.fill(),
		attentionCase{name: "all", rows: 290, spec: AttentionSpec{Heads: 6, KVHeads: 2, HeadDim: 9, ValueDim: 8, Scale: 0.5, Window: 33, Softcap: 5, Sinks: sinks, Offset: 19}}.fill(100),
	}
}

// results are an output and the gradients of all inputs.
type results [5][]float32

var resultNames = [len(results{})]string{"y", "dq", "dk", "dv", "dsinks"}

// run computes a case with some number of workers.
func (c *attentionCase) run(workers int) results { return c.runIn(product.Float32, workers) }

func (c *attentionCase) runIn(precision product.Precision, workers int) results {
	pool := product.NewPool(workers)
	defer pool.Close()
	pool.SetPrecision(precision)
	tape := NewTape(pool)
	tape.Reset(true)
	for _, p := range []*Param{c.q, c.k, c.v} {
		clear(p.Grad)
	}
	var dsinks []float32
	if c.spec.Sinks != nil {
		dsinks = c.spec.Sinks.Grad
		clear(dsinks)
	}
	y := tape.Attention(variable(tape, c.q), variable(tape, c.k), variable(tape, c.v), c.spec)
	y.grad = c.dy
	tape.Backward()
	return results{slices.Clone(y.Data), slices.Clone(c.q.Grad), slices.Clone(c.k.Grad), slices.Clone(c.v.Grad), slices.Clone(dsinks)}
}

// definition computes a case score by score in float64.
func (c *attentionCase) definition() results {
	s := &c.spec
	var wide [len(results{})][]float64
	for i, n := range []int{len(c.dy), len(c.q.Data), len(c.k.Data), len(c.v.Data), s.Heads} {
		wide[i] = make([]float64, n)
	}
	for h := range s.Heads {
		kv := h / (s.Heads / s.KVHeads)
		for r := range c.rows {
			c.defineRow(&wide, h, kv, r)
		}
	}
	var narrow results
	for i, v := range wide {
		for _, x := range v {
			narrow[i] = append(narrow[i], float32(x))
		}
	}
	return narrow
}

func (c *attentionCase) defineRow(out *[len(results{})][]float64, h, kv, r int) {
	s := &c.spec
	q, k := r*s.Heads*s.HeadDim+h*s.HeadDim, func(j int) int { return (j*s.KVHeads + kv) * s.HeadDim }
	y, v := r*s.Heads*s.ValueDim+h*s.ValueDim, func(j int) int { return (j*s.KVHeads + kv) * s.ValueDim }
	p, slope := make([]float64, c.keys()), make([]float64, c.keys())
	var sum, sink, d float64
	for j := range p {
		if j < int(s.First[r]) || j > r+s.Offset || s.Window > 0 && r+s.Offset-j >= s.Window {
			continue
		}
		var x float64
		for i := range s.HeadDim {
			x += float64(c.q.Data[q+i]) * float64(c.k.Data[k(j)+i])
		}
		x *= float64(s.Scale)
		slope[j] = float64(s.Scale)
		if s.Softcap > 0 {
			t := math.Tanh(x / float64(s.Softcap))
			x, slope[j] = float64(s.Softcap)*t, slope[j]*(1-t*t)
		}
		p[j] = math.Exp(x)
		sum += p[j]
	}
	if s.Sinks != nil {
		sink = math.Exp(float64(s.Sinks.Data[h]))
		sum += sink
	}
	for j := range p {
		p[j] /= sum
		for i := range s.ValueDim {
			out[0][y+i] += p[j] * float64(c.v.Data[v(j)+i])
			out[3][v(j)+i] += p[j] * float64(c.dy[y+i])
		}
	}
	for i := range s.ValueDim {
		d += out[0][y+i] * float64(c.dy[y+i])
	}
	out[4][h] -= sink / sum * d
	for j := range p {
		dp := -d
		for i := range s.ValueDim {
			dp += float64(c.dy[y+i]) * float64(c.v.Data[v(j)+i])
		}
		for i := range s.HeadDim {
			out[1][q+i] += p[j] * dp * slope[j] * float64(c.k.Data[k(j)+i])
			out[2][k(j)+i] += p[j] * dp * slope[j] * float64(c.q.Data[q+i])
		}
	}
}

func TestAttentionIsItsDefinitionOnEveryTier(t *testing.T) {
	for _, c := range attentionCases() {
		want := c.definition()
		for _, tier := range simd.Names() {
			t.Run(c.name+"/"+tier, func(t *testing.T) {
				undo, err := simd.Use(tier)
				if err != nil {
					t.Fatal(err)
				}
				defer undo()
				got := c.run(2)
				for n, name := range resultNames {
					for i, x := range got[n] {
						if want := float64(want[n][i]); math.Abs(float64(x)-want) > 1e-5*(1+math.Abs(want)) {
							t.Fatalf("%s[%d] = %g, want %g", name, i, x, want)
						}
					}
				}
			})
		}
	}
}

func TestAttentionDoesNotDependOnTheNumberOfWorkers(t *testing.T) {
	for _, c := range attentionCases() {
		c.spec.Roundable = true
		for _, precision := range []product.Precision{product.Float32, product.Auto} {
			want := c.runIn(precision, 1)
			for _, workers := range []int{2, 5} {
				got := c.runIn(precision, workers)
				for n, name := range resultNames {
					if !slices.Equal(got[n], want[n]) {
						t.Errorf("%s: %d workers give another %s", c.name, workers, name)
					}
				}
			}
		}
	}
}

// Rounding to bfloat16 changes a factor by up to 2⁻⁹ of itself.
func TestRoundedAttentionIsNearItsDefinition(t *testing.T) {
	for _, c := range attentionCases() {
		c.spec.Roundable = true
		want, got := c.definition(), c.runIn(product.Auto, 2)
		for n, name := range resultNames {
			if len(got[n]) == 0 {
				continue
			}
			if c.name == "window of one" && (name == "dq" || name == "dk") { // all are 0, and differences of what is rounded
				continue
			}
			if e := sharedtest.NMSE(got[n], want[n]); !(e < 1e-4) {
				t.Errorf("%s: NMSE of %s %.2g", c.name, name, e)
			}
		}
	}
}

func TestAttentionOfARowDoesNotDependOnTheRowsItIsComputedWith(t *testing.T) {
	for _, precision := range []product.Precision{product.Float32, product.Auto} {
		checkRowsOfAttention(t, precision)
	}
}

func checkRowsOfAttention(t *testing.T, precision product.Precision) {
	pool := product.NewPool(2)
	defer pool.Close()
	pool.SetPrecision(precision)
	tape := NewTape(pool)
	for _, tier := range simd.Names() {
		undo, err := simd.Use(tier)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range attentionCases() {
			n := c.q.Shape[0]
			attend := func(from, to int) []float32 {
				tape.Reset(false)
				s := c.spec
				s.Roundable = true
				keys := s.Offset + to
				s.Offset, s.First = s.Offset+from, s.First[from:to]
				return tape.Attention(Constant(c.q.Data[from*n:], to-from, n), Constant(c.k.Data, keys, c.k.Shape[0]),
					Constant(c.v.Data, keys, c.v.Shape[0]), s).Data
			}
			want := slices.Clone(attend(0, c.rows))
			for _, chunk := range []int{1, 17, 130} {
				if pool.Rounds() && (chunk == 1 || c.rows%chunk == 1) {
					continue // a row that is alone is not rounded
				}
				var got []float32
				for from := 0; from < c.rows; from += chunk {
					got = append(got, attend(from, min(from+chunk, c.rows))...)
				}
				if !slices.Equal(got, want) {
					t.Errorf("%s: %s: chunks of %d rows give another result", tier, c.name, chunk)
				}
			}
		}
		undo()
	}
}

func TestAttentionOverNoRowsIsEmpty(t *testing.T) {
	c := attentionCase{spec: AttentionSpec{Heads: 2, KVHeads: 1, HeadDim: 4, ValueDim: 4, Scale: 1}}.fill()
	if r := c.run(2); len(r[0]) != 0 {
		t.Errorf("%d elements", len(r[0]))
	}
}

func TestAttentionAllocatesNothingInTheSteadyState(t *testing.T) {
	pool := product.NewPool(2)
	defer pool.Close()
	tape := NewTape(pool)
	c := attentionCases()[len(attentionCases())-1]
	q, k, v := variable(tape, c.q), variable(tape, c.k), variable(tape, c.v)
	step := func() {
		tape.Reset(true)
		tape.Attention(q, k, v, c.spec).grad = c.dy
		tape.Backward()
	}
	// Chance decides when each worker has had its largest part.
	var n float64
	for range 20 {
		if n = testing.AllocsPerRun(10, step); n == 0 {
			return
		}
	}
	t.Errorf("%v allocations in a step", n)
}

func BenchmarkAttention(b *testing.B) {
	const heads, kvHeads, dim = 14, 2, 64
	pool := product.NewPool(0)
	defer pool.Close()
	for _, s := range [][2]int{{256, 256}, {2048, 2048}, {1, 2048}} {
		rows, keys := s[0], s[1]
		rng := rand.New(rand.NewPCG(1, 2))
		q, k, v := randomParam(rng, "q", heads*dim, rows), randomParam(rng, "k", kvHeads*dim, keys), randomParam(rng, "v", kvHeads*dim, keys)
		spec := AttentionSpec{Heads: heads, KVHeads: kvHeads, HeadDim: dim, ValueDim: dim, Scale: 0.125,
			First: make([]int32, rows), Offset: keys - rows}
		dy := randomParam(rng, "dy", heads*dim, rows).Data
		// Two products forward, five backward, over half of all pairs.
		pairs := float64(heads) * float64(rows) * (float64(keys) - float64(rows)/2)
		for _, backward := range []bool{false, true} {
			if backward && rows == 1 {
				continue
			}
			b.Run(fmt.Sprintf("rows=%d/keys=%d/backward=%t", rows, keys, backward), func(b *testing.B) {
				tape := NewTape(pool)
				vars := [3]Var{
					{Rows: rows, Cols: heads * dim, Data: q.Data, needs: backward, grad: q.Grad},
					{Rows: keys, Cols: kvHeads * dim, Data: k.Data, needs: backward, grad: k.Grad},
					{Rows: keys, Cols: kvHeads * dim, Data: v.Data, needs: backward, grad: v.Grad},
				}
				b.ReportAllocs()
				for b.Loop() {
					tape.Reset(backward)
					tape.Attention(&vars[0], &vars[1], &vars[2], spec).grad = dy
					tape.Backward()
				}
				products := 2.0
				if backward {
					products = 7
				}
				b.ReportMetric(products*2*dim*pairs*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
			})
		}
	}
}
