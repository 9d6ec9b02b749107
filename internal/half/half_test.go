package half

import (
	"math"
	"testing"
)

func TestFloat16RoundTripOfEveryValue(t *testing.T) {
	for h := range 1 << 16 {
		f := FromFloat16(uint16(h))
		if f != f {
			if ToFloat16(f)&0x7fff != 0x7e00 {
				t.Fatalf("NaN %#04x became %#04x", h, ToFloat16(f))
			}
			continue
		}
		if got := ToFloat16(f); got != uint16(h) {
			t.Fatalf("%#04x = %g became %#04x", h, f, got)
		}
	}
}

func TestFloat16RoundsToNearestEven(t *testing.T) {
	for h := range uint16(0x7bff) {
		lo, hi := FromFloat16(h), FromFloat16(h+1)
		mid := float32((float64(lo) + float64(hi)) / 2)
		even := h + h&1
		for _, c := range []struct {
			f    float32
			want uint16
		}{{mid, even}, {math.Nextafter32(mid, 0), h}, {math.Nextafter32(mid, 1e6), h + 1}} {
			if got := ToFloat16(c.f); got != c.want {
				t.Fatalf("%g between %#04x and %#04x became %#04x, want %#04x", c.f, h, h+1, got, c.want)
			}
			if got := ToFloat16(-c.f); got != c.want|0x8000 {
				t.Fatalf("%g became %#04x", -c.f, got)
			}
		}
	}
	if got := ToFloat16(65520); got != 0x7c00 {
		t.Errorf("65520 became %#04x, want infinity", got)
	}
}

func TestBFloat16RoundsToNearestEven(t *testing.T) {
	for h := range uint16(0x7f7f) {
		lo := math.Float32bits(FromBFloat16(h))
		for _, c := range []struct {
			add  uint32
			want uint16
		}{{0, h}, {0x7fff, h}, {0x8000, h + h&1}, {0x8001, h + 1}} {
			if got := ToBFloat16(math.Float32frombits(lo + c.add)); got != c.want {
				t.Fatalf("%#08x became %#04x, want %#04x", lo+c.add, got, c.want)
			}
		}
	}
	if f := FromBFloat16(ToBFloat16(math.Float32frombits(0x7f800001))); f == f {
		t.Error("NaN was lost")
	}
}
