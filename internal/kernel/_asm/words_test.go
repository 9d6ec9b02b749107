package main

import (
	"strings"
	"testing"
)

// What another assembler makes of the instructions.
var knownWords = map[string]string{
	"VFADD.S4":      "0x4e33d441", // fadd v1.4s, v2.4s, v19.4s
	"VFSUB.S4":      "0x4eb3d441", // fsub v1.4s, v2.4s, v19.4s
	"VFMUL.S4":      "0x6e33dc41", // fmul v1.4s, v2.4s, v19.4s
	"VFDIV.S4":      "0x6e33fc41", // fdiv v1.4s, v2.4s, v19.4s
	"VFMAX.S4":      "0x4e33f441", // fmax v1.4s, v2.4s, v19.4s
	"VFMIN.S4":      "0x4eb3f441", // fmin v1.4s, v2.4s, v19.4s
	"VFCMGT.S4":     "0x6eb3e441", // fcmgt v1.4s, v2.4s, v19.4s
	"VFCMGE.S4":     "0x6e33e441", // fcmge v1.4s, v2.4s, v19.4s
	"VFADD.D2":      "0x4e73d441", // fadd v1.2d, v2.2d, v19.2d
	"VMUL.B16":      "0x4e339c41", // mul v1.16b, v2.16b, v19.16b
	"VCMHS.B16":     "0x6e333c41", // cmhs v1.16b, v2.16b, v19.16b
	"VUSHL.B16":     "0x6e334441", // ushl v1.16b, v2.16b, v19.16b
	"VUSHL.H8":      "0x6e734441", // ushl v1.8h, v2.8h, v19.8h
	"VUSHL.S4":      "0x6eb34441", // ushl v1.4s, v2.4s, v19.4s
	"VSCVTF.S4":     "0x4e21da41", // scvtf v1.4s, v18.4s
	"VFRINTN.S4":    "0x4e218a41", // frintn v1.4s, v18.4s
	"VFCVTNS.S4":    "0x4e21aa41", // fcvtns v1.4s, v18.4s
	"VFCVTN.S4.H4":  "0x0e216a41", // fcvtn v1.4h, v18.4s
	"VFCVTL.H4.S4":  "0x0e217a41", // fcvtl v1.4s, v18.4h
	"VFCVTL2.H8.S4": "0x4e217a41", // fcvtl2 v1.4s, v18.8h
	"VFCVTL.S2.D2":  "0x0e617a41", // fcvtl v1.2d, v18.2s
	"VFCVTL2.S4.D2": "0x4e617a41", // fcvtl2 v1.2d, v18.4s
	"VSXTL.B8.H8":   "0x0f08a641", // sxtl v1.8h, v18.8b
	"VSXTL2.B16.H8": "0x4f08a641", // sxtl2 v1.8h, v18.16b
	"VSXTL.H4.S4":   "0x0f10a641", // sxtl v1.4s, v18.4h
	"VSXTL2.H8.S4":  "0x4f10a641", // sxtl2 v1.4s, v18.8h
	"VFMAXV.S4":     "0x6e30fa41", // fmaxv s1, v18.4s
	"VSSHR1.S4":     "0x4f3f0641", // sshr v1.4s, v18.4s, #1
	"VFADDP.D2":     "0x7e70da41", // faddp d1, v18.2d
}

func TestWordsAreThoseOfAnotherAssembler(t *testing.T) {
	check := func(name, want string, print func(w *writer)) {
		w := &writer{}
		print(w)
		if got := w.String(); !strings.HasPrefix(got, "\tWORD $"+want+" // "+name) {
			t.Errorf("%s: %q, want %s", name, got, want)
		}
	}
	for name := range threeRegisters {
		check(name, knownWords[name], func(w *writer) { w.three(name, 19, 2, 1) })
	}
	for name := range twoRegisters {
		check(name, knownWords[name], func(w *writer) { w.two(name, 18, 1) })
	}
	if len(knownWords) != len(threeRegisters)+len(twoRegisters) {
		t.Errorf("%d words are known", len(knownWords))
	}
	for lane, want := range []string{"0x4f939041", "0x4fb39041", "0x4f939841", "0x4fb39841"} { // fmul v1.4s, v2.4s, v19.s[lane]
		check("VFMUL.S4 V19", want, func(w *writer) { w.multiplyByLane(19, lane, 2, 1) })
	}
}

func TestBytesOfBF16AreThoseOfAnotherAssembler(t *testing.T) {
	for _, c := range []struct {
		want  string
		print func(w *writer)
	}{
		{"62 d2 5f 40 72 cb", func(w *writer) { roundTwoToBF16(w, 1, 11, 20) }},       // vcvtne2ps2bf16 zmm1, zmm20, zmm11
		{"62 c2 7e 48 72 e3", func(w *writer) { roundToBF16(w, 20, 11) }},             // vcvtneps2bf16 ymm20, zmm11
		{"62 d2 5e 40 52 cb", func(w *writer) { dotPairs(w, 1, 20, 11) }},             // vdpbf16ps zmm1, zmm20, zmm11
		{"62 e2 26 58 52 60 03", func(w *writer) { dotPairsBroadcast(w, 20, 11, 3) }}, // vdpbf16ps zmm20, zmm11, [rax+12]{1to16}
	} {
		w := &writer{}
		c.print(w)
		code, _, _ := strings.Cut(w.String(), "//")
		var got []string
		for _, b := range strings.Split(strings.TrimSpace(code), "; ") {
			got = append(got, strings.TrimPrefix(b, "BYTE $0x"))
		}
		if joined := strings.Join(got, " "); !sameBytes(joined, c.want) {
			t.Errorf("%s, want %s", w.String(), c.want)
		}
	}
}

// sameBytes takes 0x3 for 0x03.
func sameBytes(got, want string) bool {
	g, w := strings.Fields(got), strings.Fields(want)
	for i := range g {
		g[i] = strings.Repeat("0", max(0, 2-len(g[i]))) + g[i]
	}
	return strings.Join(g, " ") == strings.Join(w, " ")
}
