package vector

import (
	"encoding/binary"
	"hash/crc32"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"qtool/internal/half"
	"qtool/internal/kernel/kerneltest"
)

// unitsApart is how many float32 lie between got and the exact value want.
func unitsApart(got float32, want float64) float64 {
	w := float32(want)
	if got == w || got != got && w != w {
		return 0
	}
	unit := float64(math.Nextafter32(float32(math.Abs(want)), math.MaxFloat32)) - math.Abs(float64(w))
	return math.Abs(float64(got)-want) / unit
}

func TestExpIsWithinOneUnitOfTheExactValue(t *testing.T) {
	kerneltest.OnEachTier(t, func(t *testing.T) {
		const step = 9973 // one in 97 was tried once: 0.86 units at most
		in, out := make([]float32, 0, 1<<32/step+20), []float32(nil)
		for bits := uint64(0); bits < 1<<32; bits += step {
			in = append(in, math.Float32frombits(uint32(bits)))
		}
		in = append(in, kerneltest.Special...)
		in = append(in, 88.72283, 88.72284, 88.7, -87.3, -87.4, -103.2, -103.9, -104.1, -150, 1000, 0.34657, -0.34658)
		out = make([]float32, len(in))
		Exp(out, in, 0)
		for i, x := range in {
			if u := unitsApart(out[i], math.Exp(float64(x))); u > 1 {
				t.Fatalf("exp(%g) = %g, %g units from %g", x, out[i], u, math.Exp(float64(x)))
			}
		}
	})
}

// eachLength calls f with n kerneltest.Guarded vectors of every length and some alignments,
// some of which hold kerneltest.Special values.
func eachLength(vectors int, f func(v []kerneltest.Guarded)) {
	rng := rand.New(rand.NewPCG(15, 16))
	for n := range 200 {
		v := make([]kerneltest.Guarded, vectors)
		for i := range v {
			v[i] = kerneltest.NewGuarded(rng, n, (n+i)%5)
			if n%4 == 3 {
				kerneltest.Sprinkle(rng, v[i].V)
			}
		}
		f(v)
	}
}

// close reports whether got is want within a relative error; where want is
// not finite or too large, got must be the same or overflow.
func closeTo(got float32, want, tolerance float64) bool {
	g := float64(got)
	if math.IsNaN(want) {
		return math.IsNaN(g)
	}
	if math.Abs(want) > math.MaxFloat32 {
		return math.Abs(g) >= math.MaxFloat32 && (g > 0) == (want > 0)
	}
	return math.Abs(g-want) <= tolerance*math.Abs(want)+1e-37
}

func TestExpSumsWhatItStores(t *testing.T) {
	kerneltest.OnEachTier(t, func(t *testing.T) {
		eachLength(2, func(v []kerneltest.Guarded) {
			dst, src := v[0], v[1]
			sum := Exp(dst.V, src.V, 0.5)
			dst.Check(t, "dst")
			var want float64
			for i, x := range src.V {
				if !closeTo(dst.V[i], math.Exp(float64(x-0.5)), 1e-6) {
					t.Fatalf("exp(%g - 0.5) = %g", x, dst.V[i])
				}
				want += float64(dst.V[i])
			}
			if !(math.Abs(sum-want) <= 1e-12*want) && want == want && !math.IsInf(want, 0) {
				t.Fatalf("length %d: sum %g, want %g", len(src.V), sum, want)
			}
		})
	})
}

func TestHighestPassesNaNOver(t *testing.T) {
	kerneltest.OnEachTier(t, func(t *testing.T) {
		eachLength(1, func(v []kerneltest.Guarded) {
			if got, want := Highest(v[0].V), highestGo(start(v[0].V, len(v[0].V)), len(v[0].V)); got != want {
				t.Fatalf("length %d: %g, want %g", len(v[0].V), got, want)
			}
		})
		for n := range 70 {
			v := slices.Repeat([]float32{-3}, n+1)
			v[n] = -2
			if Highest(v) != -2 || Highest(v[:n]) == -2 {
				t.Fatalf("the element after %d is missed", n)
			}
		}
	})
}

func TestDot64KeepsFloat64(t *testing.T) {
	kerneltest.OnEachTier(t, func(t *testing.T) {
		eachLength(2, func(v []kerneltest.Guarded) {
			got, sum, magnitude := Dot64(v[0].V, v[1].V), 0.0, 0.0
			for i, x := range v[0].V {
				sum += float64(x) * float64(v[1].V[i])
				magnitude += math.Abs(float64(x) * float64(v[1].V[i]))
			}
			if sum == sum && !math.IsInf(sum, 0) && math.Abs(got-sum) > 1e-13*magnitude || math.IsNaN(sum) != math.IsNaN(got) {
				t.Fatalf("length %d: %g, want %g", len(v[0].V), got, sum)
			}
		})
	})
}

func TestScaleAndSwiGLUEqualTheirTwins(t *testing.T) {
	kerneltest.OnEachTier(t, func(t *testing.T) {
		eachLength(3, func(v []kerneltest.Guarded) {
			dst, a, b := v[0], v[1], v[2]
			Scale(dst.V, a.V, 1.25, b.V)
			dst.Check(t, "scale")
			for i, x := range a.V {
				if want := float32(x*1.25) * b.V[i]; dst.V[i] != want && want == want {
					t.Fatalf("scale: %g, want %g", dst.V[i], want)
				}
			}
			SwiGLU(dst.V, a.V, b.V)
			dst.Check(t, "swiglu")
			for i, x := range a.V {
				s := float32(float64(x) / (1 + math.Exp(-float64(x))))
				if math.IsInf(float64(x), -1) {
					s = float32(math.NaN()) // -Inf · 0
				}
				if want := float64(s) * float64(b.V[i]); !closeTo(dst.V[i], want, 2e-6) {
					t.Fatalf("swiglu(%g, %g) = %g, want %g", x, b.V[i], dst.V[i], want)
				}
			}
		})
	})
}

func TestGatesBackwardEqualTheirTwins(t *testing.T) {
	for _, gates := range []struct {
		twin     func(dgate, dup, gate, up, dy *float32, n int)
		backward func(dgate, dup, gate, up, dy []float32)
		limit    float64
	}{{swigluBackwardGo, SwiGLUBackward, 1e-6}, {gegluBackwardGo, GeGLUBackward, 2e-6}} {
		kerneltest.OnEachTier(t, func(t *testing.T) {
			eachLength(5, func(v []kerneltest.Guarded) {
				n := len(v[0].V)
				dgate, dup := slices.Clone(v[0].V), slices.Clone(v[1].V)
				gate, up, dy := v[2].V, v[3].V, v[4].V
				gates.twin(start(dgate, n), start(dup, n), start(gate, n), start(up, n), start(dy, n), n)
				gates.backward(v[0].V, v[1].V, gate, up, dy)
				v[0].Check(t, "dgate")
				v[1].Check(t, "dup")
				if n%4 == 3 { // kerneltest.Special values overflow on the way in other orders
					return
				}
				for i := range n {
					limit := gates.limit * (1 + math.Abs(float64(dy[i])*(1+math.Abs(float64(gate[i])))*(1+math.Abs(float64(up[i])))))
					if math.Abs(float64(v[0].V[i]-dgate[i])) > limit || math.Abs(float64(v[1].V[i]-dup[i])) > limit {
						t.Fatalf("element %d of %d: %g %g, want %g %g", i, n, v[0].V[i], v[1].V[i], dgate[i], dup[i])
					}
				}
			})
		})
	}
}

func TestGeGLUEqualsItsDefinition(t *testing.T) {
	kerneltest.OnEachTier(t, func(t *testing.T) {
		eachLength(3, func(v []kerneltest.Guarded) {
			dst, gate, up := v[0], v[1], v[2]
			GeGLU(dst.V, gate.V, up.V)
			dst.Check(t, "geglu")
			for i, x := range gate.V {
				y := float64(x)
				if math.Abs(y) > 1e6 || y != y {
					continue
				}
				want := y / (1 + math.Exp(-2*math.Sqrt(2/math.Pi)*(y+0.044715*y*y*y))) * float64(up.V[i])
				if !closeTo(dst.V[i], want, 4e-6) {
					t.Fatalf("geglu(%g, %g) = %g, want %g", x, up.V[i], dst.V[i], want)
				}
			}
		})
	})
}

func TestRoundedGeGLUIsTheSameOnEveryTierToTheBit(t *testing.T) {
	kerneltest.OnEachTier(t, func(t *testing.T) {
		eachLength(3, func(v []kerneltest.Guarded) {
			dst, gate, up := v[0], v[1], v[2]
			for i := range gate.V {
				gate.V[i] *= float32(1 + i%9)
			}
			n := len(dst.V)
			want := make([]float32, n)
			roundedGegluGo(start(want, n), start(gate.V, n), start(up.V, n), n, &roundedGelu()[0])
			RoundedGeGLU(dst.V, gate.V, up.V)
			dst.Check(t, "rounded geglu")
			for i, w := range want {
				if math.Float32bits(dst.V[i]) != math.Float32bits(w) && w == w {
					t.Fatalf("rounded geglu(%g, %g) = %g, want %g", gate.V[i], up.V[i], dst.V[i], w)
				}
			}
		})
	})
}

func TestRoundedGeGLURoundsEveryFloat16AsLlamaCppDoes(t *testing.T) {
	kerneltest.OnEachTier(t, func(t *testing.T) {
		var gate, ones, result []float32
		for bits := range 1 << 16 {
			if x := half.FromFloat16(uint16(bits)); math.Abs(float64(x)) < 10 {
				gate, ones = append(gate, x), append(ones, 1)
			}
		}
		result = make([]float32, len(gate))
		RoundedGeGLU(result, gate, ones)
		var stored []byte
		for i, y := range result {
			stored = binary.LittleEndian.AppendUint16(stored, half.ToFloat16(y))
			x := float64(gate[i])
			if want := x / (1 + math.Exp(-2*math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x))); math.Abs(float64(y)-want) > math.Abs(want)*0x1p-11+6e-7 {
				t.Errorf("gelu(%g) = %g, not near %g", x, y, want)
			}
		}
		const llamaCpp = 0xb52162f1 // of ggml_table_gelu_f16, for the same arguments
		if sum := crc32.ChecksumIEEE(stored); sum != llamaCpp {
			t.Errorf("checksum %#x", sum)
		}
		const ulp = 1.0 / 1024
		edges := []float32{-10, float32(math.Inf(-1)), 10, 11.00001, float32(math.Inf(1)), -9.99999, 9.99999, 1 + ulp/2, 1, 1 + 3*ulp/2, 1 + 2*ulp}
		RoundedGeGLU(edges, edges, ones[:len(edges)])
		if !slices.Equal(edges[:7], []float32{0, 0, 10, 11.00001, float32(math.Inf(1)), 0, 10}) || edges[7] != edges[8] || edges[9] != edges[10] {
			t.Errorf("at the edges %v", edges)
		}
	})
}

func TestSoftmaxSumsToOne(t *testing.T) {
	kerneltest.OnEachTier(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(17, 18))
		for n := 1; n < 100; n++ {
			v := kerneltest.Random(rng, n)
			v[rng.IntN(n)] = 500
			Softmax(v, v)
			var sum float64
			for _, p := range v {
				sum += float64(p)
			}
			if math.Abs(sum-1) > 1e-6 {
				t.Fatalf("length %d: the sum is %g", n, sum)
			}
		}
	})
}
