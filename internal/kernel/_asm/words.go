package main

import "fmt"

// The vector instructions of arm64 that the Go assembler does not know, as words.
// Each is a base and the numbers of its registers; operands are in the order of the
// Go assembler, the destination last.

// The instructions of two sources: m << 16, n << 5, d.
var threeRegisters = map[string]uint32{
	"VFADD.S4":  0x4e20d400,
	"VFSUB.S4":  0x4ea0d400, // n - m
	"VFMUL.S4":  0x6e20dc00,
	"VFDIV.S4":  0x6e20fc00, // n / m
	"VFMAX.S4":  0x4e20f400, // NaN if one is
	"VFMIN.S4":  0x4ea0f400,
	"VFCMGT.S4": 0x6ea0e400, // n > m
	"VFCMGE.S4": 0x6e20e400, // n >= m
	"VFADD.D2":  0x4e60d400,
	"VMUL.B16":  0x4e209c00,
	"VCMHS.B16": 0x6e203c00, // n >= m, unsigned
	"VUSHL.B16": 0x6e204400, // n << m, for m < 0 to the right
	"VUSHL.H8":  0x6e604400,
	"VUSHL.S4":  0x6ea04400,
}

// The instructions of one source: n << 5, d.
var twoRegisters = map[string]uint32{
	"VSCVTF.S4":     0x4e21d800,
	"VFRINTN.S4":    0x4e218800, // to nearest even, as a float
	"VFCVTNS.S4":    0x4e21a800, // and as an integer
	"VFCVTL.H4.S4":  0x0e217800, // binary16 to float32, the lower four
	"VFCVTL2.H8.S4": 0x4e217800, // the upper four
	"VFCVTN.S4.H4":  0x0e216800, // float32 to binary16, to nearest even
	"VFCVTL.S2.D2":  0x0e617800,
	"VFCVTL2.S4.D2": 0x4e617800,
	"VSXTL.B8.H8":   0x0f08a400,
	"VSXTL2.B16.H8": 0x4f08a400,
	"VSXTL.H4.S4":   0x0f10a400,
	"VSXTL2.H8.S4":  0x4f10a400,
	"VFMAXV.S4":     0x6e30f800, // the greatest lane
	"VSSHR1.S4":     0x4f3f0400, // by 1, keeping the sign
	"VFADDP.D2":     0x7e70d800, // the sum of both lanes
}

// three prints an instruction of two sources.
func (w *writer) three(name string, m, n, d int) {
	base, ok := threeRegisters[name]
	if !ok {
		panic("no instruction " + name)
	}
	w.word(base|uint32(m)<<16|uint32(n)<<5|uint32(d), fmt.Sprintf("%s V%d, V%d, V%d", name, m, n, d))
}

// two prints an instruction of one source.
func (w *writer) two(name string, n, d int) {
	base, ok := twoRegisters[name]
	if !ok {
		panic("no instruction " + name)
	}
	w.word(base|uint32(n)<<5|uint32(d), fmt.Sprintf("%s V%d, V%d", name, n, d))
}

// multiplyByLane prints FMUL by element: d = n · m[lane].
func (w *writer) multiplyByLane(m, lane, n, d int) {
	word := 0x4f809000 | uint32(lane&1)<<21 | uint32(lane>>1)<<11 | uint32(m)<<16 | uint32(n)<<5 | uint32(d)
	w.word(word, fmt.Sprintf("VFMUL.S4 V%d[%d], V%d, V%d", m, lane, n, d))
}

func (w *writer) word(word uint32, meaning string) { w.printf("\tWORD $%#08x // %s\n", word, meaning) }

// arranged is a vector register as lanes, such as B16 or S4, element one lane of a size, such as
// S, and scalar the lowest lane, a float.
func arranged(i int, lanes string) string         { return fmt.Sprintf("V%d.%s", i, lanes) }
func element(i int, size string, lane int) string { return fmt.Sprintf("V%d.%s[%d]", i, size, lane) }
func scalar(i int) string                         { return numbered("F", i) }

// shifted is an operand that is shifted: << or >>.
func shifted(register, way string, bits int) string {
	return fmt.Sprintf("%s%s%d", register, way, bits)
}
