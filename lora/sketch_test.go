package lora

import (
	"math"
	"math/rand/v2"
	"reflect"
	"testing"

	"qtool/internal/kernel/product"
)

// waves is a matrix of rank 4.
type waves struct{ columns int }

func (w waves) fill(_ int, dst []float32, first, end int, sums *energies) error {
	for i := range dst {
		row, c := first+i/w.columns, i%w.columns
		dst[i] = float32(math.Sin(float64(row)/10)*math.Cos(float64(c)/7) + float64(row*c%3)/100)
	}
	for _, v := range dst {
		if sums != nil {
			sums.changes += float64(v) * float64(v)
		}
	}
	return nil
}

// A matrix of several chunks is the same whether it is held between passes or computed again.
func TestWhatIsNotHeldIsComputedAgain(t *testing.T) {
	const rows, columns = 1500, 3000
	var found [2]*decomposition
	for i, hold := range []bool{true, false} {
		pool := product.NewPool(1 + i)
		defer pool.Close()
		s := &sketch{pool: pool, from: waves{columns}, rows: rows, columns: columns, rng: rand.New(rand.NewPCG(1, 2)), hold: hold}
		if err := s.pass(&s.all, func(int, int, []float32) {}); err != nil || rows <= s.chunk() || (s.held != nil) != hold {
			t.Fatalf("%v, chunks of %d rows, %d held", err, s.chunk(), len(s.held))
		}
		d, err := s.decompose(goal{rank: 6})
		if err != nil {
			t.Fatal(err)
		}
		if found[i] = d; math.Abs(d.energy(4)/s.all.changes-1) > 1e-5 {
			t.Errorf("%v of %g", d.values, s.all.changes)
		}
	}
	if !reflect.DeepEqual(found[0], found[1]) {
		t.Error("they differ")
	}
}

// Rows that depend on others, to the last bits or altogether, do not spoil the rest.
func TestRowsBecomeOrthonormalOrZero(t *testing.T) {
	pool := product.NewPool(1)
	defer pool.Close()
	rng := rand.New(rand.NewPCG(1, 2))
	s := &sketch{pool: pool}
	for name, row := range map[string]func(i, k int, v []float32, n int) float32{
		"independent": func(int, int, []float32, int) float32 { return float32(rng.NormFloat64()) },
		"near":        func(_, k int, _ []float32, _ int) float32 { return float32(k%7-3) + 1e-5*float32(rng.NormFloat64()) },
		"zero":        func(i, _ int, _ []float32, _ int) float32 { return float32(i%3) * float32(rng.NormFloat64()) },
		"repeated": func(i, k int, v []float32, n int) float32 {
			if i >= 20 {
				return v[(i-20)*n+k] * float32(i)
			}
			return float32(rng.NormFloat64())
		},
		"units": func(i, k int, _ []float32, _ int) float32 { return map[bool]float32{true: 3}[i/2 == k] },
	} {
		for _, size := range [][2]int{{50, 60}, {50, 50}, {40, 300}, {60, 45}, {1, 1}} {
			count, n := size[0], size[1]
			v := make([]float32, count*n)
			for i := range count {
				for k := range n {
					v[i*n+k] = row(i, k, v, n)
				}
			}
			s.orthonormal(v, count, n)
			left := 0
			for i := range count {
				for j := range i + 1 {
					sum := 0.0
					for k := range n {
						sum += float64(v[i*n+k]) * float64(v[j*n+k])
					}
					if i == j && sum > 0.5 {
						sum--
						left++
					}
					if math.Abs(sum) > 3e-6 {
						t.Fatalf("%s, %v: rows %d and %d: %g", name, size, i, j, sum)
					}
				}
			}
			if want := min(count, n); name == "independent" && left != want || name == "repeated" && left < min(count, 20) {
				t.Errorf("%s, %v: %d rows are left", name, size, left)
			}
		}
	}
}
