package main

import (
	"fmt"
	"log"
	"math"
)

var (
	iq4Values  = [16]float32{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113}
	iq4Middles = [16]float32{float32(math.Inf(-1)), -115.5, -93.5, -74, -57, -42, -28.5, -16, -4.5, 7, 19, 31.5, 45.5, 61, 79, 101}
)

// Buckets of the values up to 135 in size, so narrow that each has one middle at most,
// which is not near an edge.
const (
	iq4Bucket = 8.5
	iq4Origin = 16.02 // the bucket of 0
)

// emitIQ4Buckets prints, for each bucket, its middle and the levels below and above it,
// then how to find the bucket of a value.
func emitIQ4Buckets(w *writer) {
	infinity := float32(math.Inf(1))
	var middles, below, above [32]float32
	for b := range 32 {
		from, to := iq4Bucket*(float64(b)-iq4Origin), iq4Bucket*(float64(b+1)-iq4Origin)
		middles[b] = infinity
		level := 0
		for i, m := range iq4Middles {
			switch {
			case math.Abs(float64(m)-from) < 0.05 || math.Abs(float64(m)-to) < 0.05:
				log.Fatalf("bucket %d: the middle %g is at its edge", b, m)
			case float64(m) < from:
				level = i
			case float64(m) < to && middles[b] != infinity:
				log.Fatalf("bucket %d has two middles", b)
			case float64(m) < to:
				middles[b] = m
			}
		}
		below[b], above[b] = iq4Values[level], iq4Values[min(15, level+1)]
	}
	at := 0
	put := func(f float32) {
		w.printf("DATA iq4Buckets<>+%d(SB)/4, $%#08x\n", at, math.Float32bits(f))
		at += 4
	}
	for _, table := range [][32]float32{middles, below, above} {
		for _, f := range table {
			put(f)
		}
	}
	put(1 / iq4Bucket)
	put(iq4Origin)
	w.printf("GLOBL iq4Buckets<>(SB), RODATA|NOPTR, $%d\n", at)
	for i, m := range iq4Middles {
		w.printf("DATA iq4Middles<>+%d(SB)/4, $%#08x\n", 4*i, math.Float32bits(m))
	}
	w.printf("GLOBL iq4Middles<>(SB), RODATA|NOPTR, $64\n")
}

// emitLevels prints what turns the values of groups in rows into bytes.
func emitLevels(w *writer, tier, register string, lanes int) {
	for _, name := range []string{"levels", "divided"} {
		w.printf("\n// func %s%s(q *byte, x *float32, by, low *Lane, groups, vectors int, least, most, bias int32)\n", name, tier)
		w.printf("TEXT ·%s%s(SB), NOSPLIT, $0-60\n", name, tier)
		(&groupWriter{writer: w, tier: tier, register: register, lanes: lanes}).levels(name == "divided")
	}
	w.printf("\n// func fp4Levels%s(q *byte, x, by *float32, groups, vectors int, middles *[7]float32)\n", tier)
	w.printf("TEXT ·fp4Levels%s(SB), NOSPLIT, $0-48\n", tier)
	(&groupWriter{writer: w, tier: tier, register: register, lanes: lanes}).fp4()
	w.printf("\n// func iq4Levels%s(q *byte, x *float32, by *Lane, groups int)\n", tier)
	w.printf("TEXT ·iq4Levels%s(SB), NOSPLIT, $0-32\n", tier)
	(&groupWriter{writer: w, tier: tier, register: register, lanes: lanes}).iq4Levels()
}

// levels prints q = bias + max(least, min(most, nearest(..))) of (x - low) * by, or of
// (x + low) / by: a group of vectors * 16 values for each number in by and low.
func (g *groupWriter) levels(divided bool) {
	g.op("MOVQ q+0(FP), DI")
	g.op("MOVQ x+8(FP), SI")
	g.op("MOVQ by+16(FP), AX")
	g.op("MOVQ low+24(FP), BX")
	g.op("MOVQ groups+32(FP), CX")
	for i, limit := range []string{"least+48", "most+52", "bias+56"} {
		g.op("MOVL %s(FP), DX", limit)
		g.op("VMOVD DX, X%d", 5+i)
		g.op("VPBROADCASTD X%d, %s", 5+i, g.v(5+i))
	}
	g.printf("\ngroup:\n")
	g.broadcast("(AX)", 3)
	g.broadcast("(BX)", 4)
	g.op("MOVQ vectors+40(FP), R8")
	g.printf("\nvector:\n")
	for i := range 16 / g.lanes {
		g.load(fmt.Sprintf("%d(SI)", 32*i), i)
		if divided {
			g.add(i, 4, i)
			g.div(i, 3, i)
		} else {
			g.sub(i, 4, i)
			g.mul(i, 3, i)
		}
		g.nearest(i)
		g.op("VPMAXSD %[1]s, %[2]s, %[2]s", g.v(5), g.v(i))
		g.op("VPMINSD %[1]s, %[2]s, %[2]s", g.v(6), g.v(i))
		g.op("VPADDD %[1]s, %[2]s, %[2]s", g.v(7), g.v(i))
	}
	g.storeBytes()
	g.op("DECQ R8")
	g.op("JNZ vector")
	g.op("ADDQ $4, AX")
	g.op("ADDQ $4, BX")
	g.op("DECQ CX")
	g.op("JNZ group")
	g.op("VZEROUPPER")
	g.op("RET")
}

// storeBytes stores 16 small integers, from 0 (and 1) on, as bytes and moves on.
func (g *groupWriter) storeBytes() {
	if g.wide() {
		g.op("VPMOVDB Z0, (DI)")
	} else {
		g.op("VPACKSSDW Y1, Y0, Y0")
		g.op("VPERMQ $0xd8, Y0, Y0")
		g.op("VEXTRACTI128 $1, Y0, X1")
		g.op("VPACKUSWB X1, X0, X0")
		g.op("VMOVDQU X0, (DI)")
	}
	g.op("ADDQ $64, SI")
	g.op("ADDQ $16, DI")
}

// fp4 prints the index of the 4-bit float nearest to x, of groups of vectors * 16 values
// whose middles between neighbours are middles times the group's number in by: how many
// of them are less than the size, and 8 for a sign.
func (g *groupWriter) fp4() {
	const size, spare, sign, first, count, bits, zero = 2, 3, 4, 5, 12, 13, 14
	g.op("MOVQ q+0(FP), DI")
	g.op("MOVQ x+8(FP), SI")
	g.op("MOVQ by+16(FP), AX")
	g.op("MOVQ groups+24(FP), CX")
	g.op("MOVQ middles+40(FP), DX")
	g.constant(gMagnitude, bits)
	g.zero(zero)
	g.printf("\ngroup:\n")
	g.broadcast("(AX)", sign)
	for m := range 7 {
		g.broadcast(fmt.Sprintf("%d(DX)", 4*m), first+m)
		g.mul(first+m, sign, first+m)
	}
	g.op("MOVQ vectors+32(FP), R8")
	g.printf("\nvector:\n")
	for i := range 16 / g.lanes {
		g.load(fmt.Sprintf("%d(SI)", 32*i), i)
		g.and(i, bits, size)
		g.zero(count)
		for m := range 7 {
			if g.wide() {
				g.op("VPCMPGTD Z%d, Z%d, K%d", first+m, size, 1+m%2)
				g.op("VPMOVM2D K%d, Z%d", 1+m%2, spare)
			} else {
				g.op("VPCMPGTD Y%d, Y%d, Y%d", first+m, size, spare)
			}
			g.do("VPSUBD", count, spare, count)
		}
		g.op("VPSRLD $31, %s, %s", g.v(i), g.v(sign))
		g.op("VPSLLD $3, %[1]s, %[1]s", g.v(sign))
		if g.wide() { // there is no negative zero
			g.op("VPTESTMD Z%d, Z%d, K1", count, count)
			g.op("VPORD Z%d, Z%d, K1, Z%d", sign, count, count)
		} else {
			g.op("VPCMPEQD Y%d, Y%d, Y%d", zero, count, spare)
			g.op("VPANDN Y%d, Y%d, Y%d", sign, spare, spare)
			g.op("VPOR Y%d, Y%d, Y%d", spare, count, count)
		}
		g.copy(count, i)
	}
	g.storeBytes()
	g.op("DECQ R8")
	g.op("JNZ vector")
	g.op("ADDQ $4, AX")
	g.op("DECQ CX")
	g.op("JNZ group")
	g.op("VZEROUPPER")
	g.op("RET")
}

// iq4Levels prints the index of the level nearest to x * by, in groups of 32. What is not
// a number gets the last one.
func (g *groupWriter) iq4Levels() {
	g.op("MOVQ q+0(FP), DI")
	g.op("MOVQ x+8(FP), SI")
	g.op("MOVQ by+16(FP), AX")
	g.op("MOVQ groups+24(FP), CX")
	if g.wide() {
		g.op("VMOVUPS iq4Middles<>+0(SB), Z16")
		for i := range 4 {
			g.op("MOVL $%d, BX", 1<<i)
			g.op("VPBROADCASTD BX, Z%d", 20+i)
		}
		g.broadcast("iq4Middles<>+32(SB)", 17)
	}
	g.printf("\ngroup:\n")
	g.broadcast("(AX)", 3)
	for range 2 {
		for i := range 16 / g.lanes {
			g.load(fmt.Sprintf("%d(SI)", 32*i), i)
			g.mul(i, 3, i)
			g.iq4Index(i)
		}
		g.storeBytes()
	}
	g.op("ADDQ $4, AX")
	g.op("DECQ CX")
	g.op("JNZ group")
	g.op("VZEROUPPER")
	g.op("RET")
}

// iq4Index replaces values by indexes of levels: by bisection, or by counting the middles
// that are not greater.
func (g *groupWriter) iq4Index(i int) {
	if !g.wide() {
		g.zero(5)
		for _, m := range iq4Middles[1:] {
			g.op("MOVL $%#x, BX", math.Float32bits(m))
			g.op("VMOVD BX, X4")
			g.op("VBROADCASTSS X4, Y4")
			g.op("VCMPPS $%d, Y4, Y%d, Y4", notLess, i)
			g.op("VPSUBD Y4, Y5, Y5")
		}
		g.copy(5, i)
		return
	}
	g.op("VCMPPS $%d, Z17, Z%d, K1", notLess, i)
	g.op("VMOVDQA32.Z Z23, K1, Z4")
	for step := 2; step >= 0; step-- {
		g.op("VPORD Z%d, Z4, Z5", 20+step)
		g.op("VPERMPS Z16, Z5, Z6")
		g.op("VCMPPS $%d, Z6, Z%d, K1", notLess, i)
		g.op("VMOVDQA32 Z5, K1, Z4")
	}
	g.copy(4, i)
}
