package quantize_test

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"qtool/gguf"
	"qtool/internal/kernel/simd"
	"qtool/quantize"
)

// tierRow makes one of several kinds of rows that assembly could treat in another way than
// Go does.
func tierRow(r *rand.Rand, kind, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		switch kind {
		case 0:
			x[i] = float32(r.NormFloat64() * 0.02)
		case 1: // groups of very different scale
			x[i] = float32(r.NormFloat64() * math.Ldexp(1, i/16%41-20))
		case 2: // ties: few levels, many of them halves
			x[i] = float32(r.IntN(33)-16) / 2
		case 3: // subnormal scales, whose reciprocals are infinite
			x[i] = float32(r.NormFloat64() * math.Ldexp(1, -149+i/16%40))
		case 4: // one value alone, both zeros
			x[i] = float32(math.Copysign(0, float64(r.IntN(2))-0.5))
			if i%37 == 5 {
				x[i] = float32(r.NormFloat64())
			}
		case 5: // one sign
			x[i] = float32(math.Abs(r.NormFloat64())) + float32(i/32%3)
		case 6:
			x[i] = -float32(math.Abs(r.NormFloat64())) - float32(i/32%3)*100
		case 7: // nearly constant
			x[i] = 1 + float32(r.IntN(3))*0x1p-23
		case 8: // large
			x[i] = float32(r.NormFloat64() * math.Ldexp(1, 10+i/32%18))
		case 9: // outliers
			x[i] = float32(r.NormFloat64() * 0.01)
			if r.IntN(24) == 0 {
				x[i] *= 300
			}
		case 10: // zeros, and groups of nothing else
			if i/16%3 > 0 && r.IntN(2) == 0 {
				x[i] = float32(r.NormFloat64())
			}
		}
	}
	return x
}

const tierRowKinds = 11

func tierImportance(r *rand.Rand, kind, n int) []float32 {
	w := make([]float32, n)
	for i := range w {
		switch kind % 3 {
		case 0:
			w[i] = float32(r.ExpFloat64())
		case 1: // many columns never seen
			w[i] = float32(max(0, r.IntN(4)-2))
		case 2:
			w[i] = float32(math.Ldexp(1+r.Float64(), r.IntN(60)-30))
		}
	}
	return w
}

// Groups are searched side by side: rows of odd numbers of blocks fill some lanes only.
func TestEveryTierEncodesTheSameBytes(t *testing.T) {
	rounds := 6
	if testing.Short() {
		rounds = 1
	}
	for _, codec := range everyCodec((*quantize.Codec).CanEncode) {
		t.Run(codec.Type().String(), func(t *testing.T) {
			r := rand.New(rand.NewPCG(uint64(codec.Type()), 77))
			for round := range rounds {
				for kind := range tierRowKinds {
					n := codec.Type().BlockElements() * []int{1, 3, 8, 19}[(round+kind)%4]
					if codec.Type().BlockElements() == 1 {
						n = []int{1, 15, 16, 300, 1031}[(round+kind)%5]
					}
					x := tierRow(r, kind, n)
					for _, importance := range [][]float32{nil, tierImportance(r, round, n)} {
						compareTiers(t, codec, fmt.Sprintf("kind %d of %d values, importance %v", kind, n, importance != nil), x, importance)
					}
				}
			}
		})
	}
}

// Scales whose inverse is subnormal or infinite, sums that overflow, and values that, times the
// inverse, are at a half or next to it.
func TestEveryTierEncodesTheSameFewLevelsOfAnyFiniteValues(t *testing.T) {
	r := rand.New(rand.NewPCG(78, 79))
	finite := func() float32 {
		for {
			if v := math.Float32frombits(r.Uint32()); v-v == 0 {
				return v
			}
		}
	}
	for _, typ := range []gguf.Type{gguf.Q1_0, gguf.Q2_0, gguf.TQ1_0, gguf.TQ2_0} {
		codec := lookup(t, typ.String())
		n := typ.BlockElements()
		for round := range 300 {
			x := make([]float32, n*(1+round%35))
			for at := 0; at < len(x); at += n {
				block := x[at : at+n]
				scale := finite()
				for i := range block {
					switch round % 3 {
					case 0:
						block[i] = finite()
					case 1:
						block[i] = scale * float32(r.IntN(3)-1)
					case 2:
						block[i] = math.Float32frombits(math.Float32bits(scale/2) + uint32(r.IntN(7)) - 3)
						if block[i]-block[i] != 0 {
							block[i] = 0
						}
					}
				}
				block[r.IntN(n)] = scale
			}
			compareTiers(t, codec, fmt.Sprintf("round %d", round), x, nil)
		}
	}
}

func compareTiers(t *testing.T, codec *quantize.Codec, what string, x, importance []float32) {
	t.Helper()
	size, _ := codec.Type().RowSize(len(x))
	var want []byte
	for _, tier := range append([]string{"go"}, simd.Names()...) {
		undo, err := simd.Use(tier)
		if err != nil {
			t.Fatal(err)
		}
		got := bytes.Repeat([]byte{0xa5}, int(size)+64) // a tail that must stay
		codec.EncodeRow(got[:size], x, importance)
		undo()
		if want == nil {
			want = got
		}
		if !bytes.Equal(got, want) {
			at := firstDifference(got, want)
			t.Fatalf("%s: tier %s differs in byte %d of %d (block %d, byte %d): %#x, want %#x", what, tier, at, size,
				at/codec.Type().BlockBytes(), at%codec.Type().BlockBytes(), got[at], want[at])
		}
	}
}
