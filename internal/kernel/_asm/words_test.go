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
	"VFADD.D2":      "0x4e73d441", // fadd v1.2d, v2.2d, v19.2d
	"VMUL.B16":      "0x4e339c41", // mul v1.16b, v2.16b, v19.16b
	"VCMHS.B16":     "0x6e333c41", // cmhs v1.16b, v2.16b, v19.16b
	"VUSHL.B16":     "0x6e334441", // ushl v1.16b, v2.16b, v19.16b
	"VUSHL.H8":      "0x6e734441", // ushl v1.8h, v2.8h, v19.8h
	"VUSHL.S4":      "0x6eb34441", // ushl v1.4s, v2.4s, v19.4s
	"VSCVTF.S4":     "0x4e21da41", // scvtf v1.4s, v18.4s
	"VFRINTN.S4":    "0x4e218a41", // frintn v1.4s, v18.4s
	"VFCVTNS.S4":    "0x4e21aa41", // fcvtns v1.4s, v18.4s
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
