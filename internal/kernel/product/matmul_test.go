package product

import (
	"math/rand/v2"
	"slices"
	"testing"

	"qtool/internal/half"
	"qtool/internal/kernel/kerneltest"
	"qtool/internal/kernel/simd"
)

func encoded(v []float32, rows, cols int) Matrix {
	data := make([]byte, 4*len(v))
	view, _ := Float32View(data)
	for i, x := range v {
		view[i] = -x
	}
	return EncodedMatrix(data, rows, cols, 4*cols, func(dst []float32, src []byte) {
		s, _ := Float32View(src)
		for i := range dst {
			dst[i] = -s[i]
		}
	})
}

func TestProductsEqualTheDefinitionForOddShapesAndAnyWorkers(t *testing.T) {
	shapes := [][3]int{
		{1, 1, 1}, {3, 5, 7}, {2, 16, 32}, {9, 33, 20}, {17, 4, 65}, {0, 3, 4}, {4, 0, 3}, {3, 4, 0},
		{1, 70, 515}, {15, 16, 1030}, {29, 64, 8}, {40, 130, 300}, {5, 1100, 260}, {513, 3, 2}, {400, 140, 70},
	}
	kerneltest.OnEachTier(t, func(t *testing.T) {
		for _, workers := range []int{1, 3} {
			p := NewPool(workers)
			defer p.Close()
			p.distance.fix(workers > 1)
			for _, s := range shapes {
				for _, stored := range []func(v []float32, rows, cols int) Matrix{Float32Matrix, encoded} {
					checkProducts(t, p, s[0], s[1], s[2], stored)
				}
			}
		}
	})
}

func checkProducts(t *testing.T, p *Pool, tokens, rows, cols int, stored func(v []float32, rows, cols int) Matrix) {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	x, dy, w := kerneltest.Random(rng, tokens*cols), kerneltest.Random(rng, tokens*rows), kerneltest.Random(rng, rows*cols)
	y, dx, dw := kerneltest.NewGuarded(rng, tokens*rows, 1), kerneltest.NewGuarded(rng, tokens*cols, 2), kerneltest.NewGuarded(rng, rows*cols, 3)
	y0, dx0, dw0 := slices.Clone(y.V), slices.Clone(dx.V), slices.Clone(dw.V)
	m := stored(w, rows, cols)
	Forward(p, y.V, x, tokens, m)
	Backward(p, dx.V, dy, tokens, m)
	AddOuter(p, dw.V, dy, x, tokens, rows, cols)
	compare := func(name string, got kerneltest.Guarded, before []float32, n int, term func(i, k int) (a, b float32)) {
		got.Check(t, name)
		for i, g := range got.V {
			sum, bound := kerneltest.SumOf(before[i], n, func(k int) (float32, float32) { return term(i, k) })
			if !kerneltest.Agrees(g, sum, bound) {
				t.Fatalf("%d tokens, %d workers, %d×%d: %s[%d] = %g, want %g", tokens, p.Workers(), rows, cols, name, i, g, sum)
			}
		}
	}
	compare("y", y, y0, cols, func(i, k int) (float32, float32) { return x[i/rows*cols+k], w[i%rows*cols+k] })
	compare("dx", dx, dx0, rows, func(i, k int) (float32, float32) { return dy[i/cols*rows+k], w[k*cols+i%cols] })
	compare("dw", dw, dw0, tokens, func(i, k int) (float32, float32) { return dy[k*rows+i/cols], x[k*cols+i%cols] })
}

func TestBFloat16ProductsAreTheProductsOfRoundedFactors(t *testing.T) {
	shapes := [][3]int{
		{1, 1, 1}, {3, 5, 7}, {2, 16, 32}, {17, 4, 65}, {1, 70, 1030}, {15, 17, 1030}, {29, 64, 8},
		{40, 130, 300}, {5, 1101, 260}, {1, 32, 2050},
	}
	kerneltest.OnEachTier(t, func(t *testing.T) {
		if active().multipliers[inBFloat16] == nil {
			t.Skip("this tier has no bfloat16")
		}
		for _, workers := range []int{1, 3} {
			p := NewPool(workers)
			defer p.Close()
			p.SetPrecision(Auto)
			for _, s := range shapes {
				checkBFloat16Products(t, p, s[0], s[1], s[2])
			}
		}
	})
}

func checkBFloat16Products(t *testing.T, p *Pool, tokens, rows, cols int) {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	x, dy, w := kerneltest.Random(rng, tokens*cols), kerneltest.Random(rng, tokens*rows), kerneltest.Random(rng, rows*cols)
	y, dx := kerneltest.NewGuarded(rng, tokens*rows, 1), kerneltest.NewGuarded(rng, tokens*cols, 2)
	y0, dx0 := slices.Clone(y.V), slices.Clone(dx.V)
	m := encoded(w, rows, cols)
	Forward(p, y.V, x, tokens, m)
	Backward(p, dx.V, dy, tokens, m)
	y.Check(t, "y")
	dx.Check(t, "dx")
	for i, g := range y.V {
		sum, bound := kerneltest.SumOf(y0[i], cols, func(k int) (float32, float32) {
			return roundedTo16(x[i/rows*cols+k]), roundedTo16(w[i%rows*cols+k])
		})
		if !kerneltest.Agrees(g, sum, bound) {
			t.Fatalf("%v: y[%d] = %g, want %g", []int{tokens, rows, cols}, i, g, sum)
		}
	}
	for i, g := range dx.V {
		sum, bound := kerneltest.SumOf(dx0[i], rows, func(k int) (float32, float32) {
			return roundedTo16(dy[i/cols*rows+k]), roundedTo16(w[k*cols+i%cols])
		})
		if !kerneltest.Agrees(g, sum, bound) {
			t.Fatalf("%v: dx[%d] = %g, want %g", []int{tokens, rows, cols}, i, g, sum)
		}
	}
}

// The gradients of pairs, whose one side is narrow, of rows that are rounded already or not.
func TestBFloat16GradientsAreThoseOfRoundedFactors(t *testing.T) {
	kerneltest.OnEachTier(t, func(t *testing.T) {
		if active().multipliers[inBFloat16] == nil {
			t.Skip("this tier has no bfloat16")
		}
		for _, workers := range []int{1, 3} {
			p := NewPool(workers)
			defer p.Close()
			p.SetPrecision(Auto)
			for _, s := range [][3]int{{1, 2, 2}, {3, 16, 70}, {17, 70, 16}, {33, 5, 130}, {1027, 20, 18}, {40, 200, 80}} {
				checkBFloat16Gradients(t, p, s[0], s[1], s[2])
			}
		}
	})
}

func checkBFloat16Gradients(t *testing.T, p *Pool, tokens, rows, cols int) {
	t.Helper()
	rng := rand.New(rand.NewPCG(5, 6))
	x, dy := kerneltest.Random(rng, tokens*cols), kerneltest.Random(rng, tokens*rows)
	before := kerneltest.Random(rng, rows*cols)
	outer := func(roundedY, roundedX bool) []float32 {
		dw := kerneltest.NewGuarded(rng, rows*cols, 1)
		copy(dw.V, before)
		b := p.BeginOne(tokens)
		defer b.End()
		rowsOf := func(v []float32, cols int, rounded bool) Rows {
			if !rounded || cols%2 == 1 {
				return b.Rows(v, cols)
			}
			pairs := make([]float32, len(v)/2)
			Round(pairs, v)
			return b.RoundedRows(pairs, cols)
		}
		b.Outer(dw.V, rowsOf(dy, rows, roundedY), rowsOf(x, cols, roundedX), true)
		b.Run()
		dw.Check(t, "dw")
		return dw.V
	}
	dw := outer(false, false)
	for i, g := range dw {
		sum, bound := kerneltest.SumOf(before[i], tokens, func(k int) (float32, float32) {
			return roundedTo16(dy[k*rows+i/cols]), roundedTo16(x[k*cols+i%cols])
		})
		if !kerneltest.Agrees(g, sum, bound) {
			t.Fatalf("%v: dw[%d] = %g, want %g", []int{tokens, rows, cols}, i, g, sum)
		}
	}
	for _, rounded := range [][2]bool{{true, false}, {false, true}, {true, true}} {
		if !slices.Equal(dw, outer(rounded[0], rounded[1])) {
			t.Fatalf("%v: rounding before, %v, changes the gradient", []int{tokens, rows, cols}, rounded)
		}
	}
}

func roundedTo16(v float32) float32 { return half.FromBFloat16(half.ToBFloat16(v)) }

func TestProductsOfRoundedRowsAreThoseOfTheRows(t *testing.T) {
	kerneltest.OnEachTier(t, func(t *testing.T) {
		if active().multipliers[inBFloat16] == nil {
			t.Skip("this tier has no bfloat16")
		}
		p := NewPool(2)
		defer p.Close()
		p.SetPrecision(Auto)
		rng := rand.New(rand.NewPCG(7, 8))
		for _, s := range [][3]int{{1, 6, 10}, {15, 34, 1030}, {31, 1026, 66}} {
			tokens, rows, cols := s[0], s[1], s[2]
			x, dy, w := kerneltest.Random(rng, tokens*cols), kerneltest.Random(rng, tokens*rows), []Matrix{encoded(kerneltest.Random(rng, rows*cols), rows, cols)}
			products := func(rounded bool) (y, dx []float32) {
				y, dx = make([]float32, tokens*rows), make([]float32, tokens*cols)
				b := p.BeginOne(tokens)
				defer b.End()
				xr, dyr := b.Rows(x, cols), b.Rows(dy, rows)
				if rounded {
					xs, dys := make([]float32, len(x)/2), make([]float32, len(dy)/2)
					Round(xs, x)
					Round(dys, dy)
					xr, dyr = b.RoundedRows(xs, cols), b.RoundedRows(dys, rows)
				}
				b.Forward(y, false, Term{xr, w})
				b.Backward(dx, false, Term{dyr, w})
				b.Run()
				return y, dx
			}
			y, dx := products(false)
			y1, dx1 := products(true)
			if !slices.Equal(y, y1) || !slices.Equal(dx, dx1) {
				t.Fatalf("%v: products differ", s)
			}
		}
	})
}

func TestResultsDoNotDependOnWorkersTokensStorageOrCaches(t *testing.T) {
	defer func(before int) { resident = before }(resident)
	rng := rand.New(rand.NewPCG(3, 4))
	const tokens, rows, cols = 261, 231, 600
	x, dy, w := kerneltest.Random(rng, tokens*cols), kerneltest.Random(rng, tokens*rows), kerneltest.Random(rng, rows*cols)
	run := func(workers, tokens int, m Matrix, precision Precision) (y, dx, dw []float32) {
		p := NewPool(workers)
		defer p.Close()
		p.SetPrecision(precision)
		p.distance.fix(workers%2 == 0)
		y, dx, dw = make([]float32, tokens*rows), make([]float32, tokens*cols), make([]float32, rows*cols)
		Forward(p, y, x, tokens, m)
		Backward(p, dx, dy, tokens, m)
		AddOuter(p, dw, dy, x, 261, rows, cols)
		return y, dx, dw
	}
	kerneltest.OnEachTier(t, func(t *testing.T) {
		for _, c := range []struct {
			precision Precision
			stored    func(v []float32, rows, cols int) Matrix
		}{{Float32, Float32Matrix}, {Float32, encoded}, {Auto, encoded}} {
			base := Float32Matrix
			if c.precision == Auto {
				base = encoded
			}
			y1, dx1, dw1 := run(1, tokens, base(w, rows, cols), c.precision)
			for i, n := range [][2]int{{2, tokens}, {5, tokens}, {2, 1}, {3, 20}} {
				resident = residentOf([]int{256 << 10, 512 << 10, 1 << 20}[i%3])
				y, dx, dw := run(n[0], n[1], c.stored(w, rows, cols), c.precision)
				if !slices.Equal(y, y1[:len(y)]) || !slices.Equal(dx, dx1[:len(dx)]) || !slices.Equal(dw, dw1) {
					t.Fatalf("%d workers, %d tokens: results differ", n[0], n[1])
				}
			}
		}
	})
}

// A LoRA pair's product beside that of its base, over groups with and without
// rows, and gradients that go back through two bases at once.
func TestABatchIsTheProductsOfEachGroupAndTermBitForBit(t *testing.T) {
	rng := rand.New(rand.NewPCG(23, 24))
	const rows, cols, rank = 70, 1100, 5
	groups := []int32{0, 3, 3, 20, 21, 21, 50, 50}
	tokens, experts := 50, len(groups)-1
	x, dy, dz := kerneltest.Random(rng, tokens*cols), kerneltest.Random(rng, tokens*rows), kerneltest.Random(rng, tokens*rows)
	matrices := func(rows, cols int, roundable bool) (list []Matrix) {
		for range experts {
			v := kerneltest.Random(rng, rows*cols)
			if roundable {
				list = append(list, Float32Matrix(v, rows, cols).Roundable())
			} else {
				list = append(list, encoded(v, rows, cols))
			}
		}
		return list
	}
	w, v, a, b := matrices(rows, cols, false), matrices(rows, cols, false), matrices(rank, cols, true), matrices(rows, rank, true)
	kerneltest.OnEachTier(t, func(t *testing.T) {
		for _, precision := range []Precision{Float32, Auto} {
			p := NewPool(3)
			defer p.Close()
			p.SetPrecision(precision)
			y, h, dx := kerneltest.Random(rng, tokens*rows), kerneltest.Random(rng, tokens*rank), kerneltest.Random(rng, tokens*cols)
			dw := make([]float32, experts*rows*cols)
			y1, h1, dx1, dw1 := make([]float32, len(y)), make([]float32, len(h)), slices.Clone(dx), slices.Clone(dw)

			batch := p.Begin(groups)
			xr, dyr, dzr, hr := batch.Rows(x, cols), batch.Rows(dy, rows), batch.Rows(dz, rows), batch.Rows(h, rank)
			batch.Forward(h, false, Term{xr, a})
			batch.Run()
			batch.Forward(y, false, Term{xr, w}, Term{hr, b})
			batch.Backward(dx, true, Term{dyr, w}, Term{hr, a}, Term{dzr, v})
			batch.Outer(dw, dyr, xr, false)
			batch.Run()
			batch.End()
			for e := range experts {
				from, n := int(groups[e]), int(groups[e+1]-groups[e])
				Forward(p, h1[from*rank:], x[from*cols:], n, a[e])
				Forward(p, y1[from*rows:], x[from*cols:], n, w[e])
				Forward(p, y1[from*rows:], h1[from*rank:], n, b[e])
				Backward(p, dx1[from*cols:], dy[from*rows:], n, w[e])
				Backward(p, dx1[from*cols:], h1[from*rank:], n, a[e])
				Backward(p, dx1[from*cols:], dz[from*rows:], n, v[e])
				AddOuter(p, dw1[e*rows*cols:], dy[from*rows:], x[from*cols:], n, rows, cols)
			}
			if !slices.Equal(h, h1) || !slices.Equal(y, y1) || !slices.Equal(dx, dx1) || !slices.Equal(dw, dw1) {
				t.Fatalf("%v: the batch's results differ from the single products'", precision)
			}
		}
	})
}

func TestAProductWithoutTermsIsZero(t *testing.T) {
	p := NewPool(2)
	defer p.Close()
	batch := p.BeginOne(2)
	defer batch.End()
	y := []float32{1, 2, 3, 4}
	batch.Forward(y, false, Term{batch.Rows(nil, 0), []Matrix{Float32Matrix(nil, 2, 0)}})
	batch.Run()
	if !slices.Equal(y, make([]float32, 4)) {
		t.Errorf("%v", y)
	}
}

func TestASliceThatIsTooShortPanicsBeforeAnythingIsWritten(t *testing.T) {
	p := NewPool(1)
	defer p.Close()
	m := Float32Matrix(make([]float32, 6), 2, 3)
	for name, f := range map[string]func(){
		"y":  func() { Forward(p, make([]float32, 3), make([]float32, 6), 2, m) },
		"x":  func() { Forward(p, make([]float32, 4), make([]float32, 5), 2, m) },
		"dw": func() { AddOuter(p, make([]float32, 5), make([]float32, 4), make([]float32, 6), 2, 2, 3) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
				Forward(p, make([]float32, 4), make([]float32, 6), 2, m) // the pool is still usable
			}()
			f()
		})
	}
}

func TestMultiplyingDoesNotAllocateOnceItIsWarm(t *testing.T) {
	p := NewPool(2)
	defer p.Close()
	const tokens, rows, cols = 40, 300, 600
	x, y, w := make([]float32, tokens*cols), make([]float32, tokens*rows), make([]float32, rows*cols)
	m := encoded(w, rows, cols)
	groups, experts := []int32{0, 10, 40}, []Matrix{m, m}
	step := func() {
		b := p.Begin(groups)
		xr, yr := b.Rows(x, cols), b.Rows(y, rows)
		b.Forward(y, false, Term{xr, experts})
		b.Run()
		b.Backward(x, true, Term{yr, experts}, Term{yr, experts})
		b.Run()
		b.End()
		Forward(p, y, x, tokens, m)
		Backward(p, x, y, tokens, m)
		AddOuter(p, w, y, x, tokens, rows, cols)
	}
	for range 20 { // both workers meet every shape
		step()
	}
	if n := testing.AllocsPerRun(20, step); n >= 1 {
		t.Errorf("%g allocations", n)
	}
}

// Every multiplication of a batch is one of a micro-kernel's, and a batch knows how many
// it takes.
func TestBatchesCountTheMultiplicationsOfMicroKernels(t *testing.T) {
	counting, goMultiplier, n := goTier, goTier.multipliers[inFloat32], 0.0
	multiplier := *goMultiplier
	multiplier.tier, counting.multipliers[inFloat32] = &counting, &multiplier
	for w := range multiplier.tiles {
		multiplier.tiles[w] = nil
		for r, tile := range goMultiplier.tiles[w] {
			multiplier.tiles[w] = append(multiplier.tiles[w], func(k int, a *float32, lda int, b *float32, ldb int, c *float32, ldc int, add bool) {
				n += float64(k) * float64(r+1) * float64(goMultiplier.widths[w])
				tile(k, a, lda, b, ldb, c, ldc, add)
			})
		}
	}
	before := tiers[simd.Active()]
	tiers[simd.Active()] = &counting
	defer func() { tiers[simd.Active()] = before }()
	p := NewPool(1)
	defer p.Close()
	rng := rand.New(rand.NewPCG(1, 2))
	const tokens, rows, cols = 14, 70, 1030 // even: tiles have two columns
	x, y, dw := kerneltest.Random(rng, tokens*cols), kerneltest.Random(rng, tokens*rows), make([]float32, rows*cols)
	for _, w := range []Matrix{Float32Matrix(dw, rows, cols), encoded(kerneltest.Random(rng, rows*cols), rows, cols)} {
		counted, known := n, p.Multiplications()
		Forward(p, y, x, tokens, w)
		Backward(p, x, y, tokens, w)
		AddOuter(p, dw, y, x, tokens, rows, cols)
		if got, want := p.Multiplications()-known, 3.0*tokens*rows*cols; got != want || n-counted != want {
			t.Errorf("%g multiplications, counted were %g, want %g", got, n-counted, want)
		}
	}
	var a Left
	var b Right
	a.Pack(x, cols, tokens, 20)
	b.Pack(dw, cols, 20, 6)
	counted := n
	product := make([]float32, tokens*6)
	for panel := range a.Panels() {
		Multiply(product, 6, false, &a, panel, &b, 0, 20, 6)
	}
	if want := 20.0 * 6 * tokens; a.Multiplications != want || n-counted != want {
		t.Errorf("%g multiplications, counted were %g, want %g", a.Multiplications, n-counted, want)
	}
}
