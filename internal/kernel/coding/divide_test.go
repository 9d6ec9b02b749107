package coding

import (
	"testing"
	"unsafe"
)

func TestDivisionsAreLaidOutAsTheAssemblyHasThem(t *testing.T) {
	var a Division32
	var b Division16
	for _, c := range []struct {
		name      string
		got, want uintptr
	}{
		{"SumW", unsafe.Offsetof(a.SumW), 296}, {"TailX", unsafe.Offsetof(a.TailX), 592}, {"TailW", unsafe.Offsetof(a.TailW), 888},
		{"Level", unsafe.Offsetof(a.Level), 1184}, {"XL", unsafe.Offsetof(a.XL), 1200}, {"LL", unsafe.Offsetof(a.LL), 1232},
		{"Low", unsafe.Offsetof(a.Low), 1264}, {"At", unsafe.Offsetof(a.At), 1272}, {"Best", unsafe.Offsetof(a.Best), 1280},
		{"head", unsafe.Offsetof(b.head), 1536}, {"middle", unsafe.Offsetof(b.middle), 1568}, {"Sums", unsafe.Offsetof(b.Sums), 1600},
		{"low", unsafe.Offsetof(b.low), 1632}, {"high", unsafe.Offsetof(b.high), 1640}, {"Low of 16", unsafe.Offsetof(b.Low), 1648},
		{"High of 16", unsafe.Offsetof(b.High), 1649}, {"Best of 16", unsafe.Offsetof(b.Best), 1656},
	} {
		if c.got != c.want {
			t.Errorf("%s is at %d, the assembly has it at %d", c.name, c.got, c.want)
		}
	}
}
