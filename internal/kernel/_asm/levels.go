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
	size := 0
	put := func(f float32) {
		w.printf("DATA iq4Buckets<>+%d(SB)/4, $%#08x\n", size, math.Float32bits(f))
		size += 4
	}
	for _, table := range [][32]float32{middles, below, above} {
		for _, f := range table {
			put(f)
		}
	}
	put(1 / iq4Bucket)
	put(iq4Origin)
	w.printf("GLOBL iq4Buckets<>(SB), RODATA|NOPTR, $%d\n", size)
	for i, m := range iq4Middles {
		w.printf("DATA iq4Middles<>+%d(SB)/4, $%#08x\n", 4*i, math.Float32bits(m))
	}
	w.printf("GLOBL iq4Middles<>(SB), RODATA|NOPTR, $64\n")
}

// Registers of what turns the values of groups in rows into bytes.
const (
	levelsTo      = "DI"
	levelsFrom    = "SI"
	levelsBy      = "AX" // the number of the group that values are multiplied with or divided by
	levelsLow     = "BX"
	groupsLeft    = "CX"
	levelsVectors = "R8" // that are left of a group

	levelsX = 0 // 16 values, one or two vectors
)

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
	const by, low, least, most, bias, argument = 3, 4, 5, 6, 7, "DX"
	g.ins("MOVQ", "q+0(FP)", levelsTo)
	g.ins("MOVQ", "x+8(FP)", levelsFrom)
	g.ins("MOVQ", "by+16(FP)", levelsBy)
	g.ins("MOVQ", "low+24(FP)", levelsLow)
	g.ins("MOVQ", "groups+32(FP)", groupsLeft)
	for i, limit := range []string{"least+48(FP)", "most+52(FP)", "bias+56(FP)"} {
		g.ins("MOVL", limit, argument)
		g.ins("VMOVD", argument, xmm(least+i))
		g.ins("VPBROADCASTD", xmm(least+i), g.v(least+i))
	}
	g.printf("\ngroup:\n")
	g.broadcast(in(levelsBy), by)
	g.broadcast(in(levelsLow), low)
	g.ins("MOVQ", "vectors+40(FP)", levelsVectors)
	g.printf("\nvector:\n")
	for i := range 16 / g.lanes {
		x := levelsX + i
		g.load(at(levelsFrom, 32*i), x)
		if divided {
			g.add(x, low, x)
			g.div(x, by, x)
		} else {
			g.sub(x, low, x)
			g.mul(x, by, x)
		}
		g.nearest(x)
		g.do("VPMAXSD", x, least, x)
		g.do("VPMINSD", x, most, x)
		g.do("VPADDD", x, bias, x)
	}
	g.storeBytes()
	g.ins("DECQ", levelsVectors)
	g.op("JNZ vector")
	g.ins("ADDQ", "$4", levelsBy)
	g.ins("ADDQ", "$4", levelsLow)
	g.ins("DECQ", groupsLeft)
	g.op("JNZ group")
	g.op("VZEROUPPER")
	g.op("RET")
}

// storeBytes stores the 16 small integers in levelsX as bytes and moves on.
func (g *groupWriter) storeBytes() {
	if g.wide() {
		g.ins("VPMOVDB", zmm(levelsX), in(levelsTo))
	} else {
		g.ins("VPACKSSDW", ymm(levelsX+1), ymm(levelsX), ymm(levelsX))
		g.ins("VPERMQ", "$0xd8", ymm(levelsX), ymm(levelsX))
		g.ins("VEXTRACTI128", "$1", ymm(levelsX), xmm(levelsX+1))
		g.ins("VPACKUSWB", xmm(levelsX+1), xmm(levelsX), xmm(levelsX))
		g.ins("VMOVDQU", xmm(levelsX), in(levelsTo))
	}
	g.ins("ADDQ", "$64", levelsFrom)
	g.ins("ADDQ", "$16", levelsTo)
}

// fp4 prints the index of the 4-bit float nearest to x, of groups of vectors * 16 values
// whose middles between neighbours are middles times the group's number in by: how many
// of them are less than the magnitude, and 8 for a sign.
func (g *groupWriter) fp4() {
	const magnitude, spare, sign, first, count, bits, zero = 2, 3, 4, 5, 12, 13, 14
	const by, middlesAt = sign, "DX"
	g.ins("MOVQ", "q+0(FP)", levelsTo)
	g.ins("MOVQ", "x+8(FP)", levelsFrom)
	g.ins("MOVQ", "by+16(FP)", levelsBy)
	g.ins("MOVQ", "groups+24(FP)", groupsLeft)
	g.ins("MOVQ", "middles+40(FP)", middlesAt)
	g.constant(gMagnitude, bits)
	g.zero(zero)
	g.printf("\ngroup:\n")
	g.broadcast(in(levelsBy), by)
	for m := range 7 {
		g.broadcast(at(middlesAt, 4*m), first+m)
		g.mul(first+m, by, first+m)
	}
	g.ins("MOVQ", "vectors+32(FP)", levelsVectors)
	g.printf("\nvector:\n")
	for i := range 16 / g.lanes {
		x := levelsX + i
		g.load(at(levelsFrom, 32*i), x)
		g.and(x, bits, magnitude)
		g.zero(count)
		for m := range 7 {
			if g.wide() {
				g.ins("VPCMPGTD", zmm(first+m), zmm(magnitude), g.mask(1+m%2))
				g.ins("VPMOVM2D", g.mask(1+m%2), zmm(spare))
			} else {
				g.ins("VPCMPGTD", ymm(first+m), ymm(magnitude), ymm(spare))
			}
			g.do("VPSUBD", count, spare, count)
		}
		g.ins("VPSRLD", "$31", g.v(x), g.v(sign))
		g.ins("VPSLLD", "$3", g.v(sign), g.v(sign))
		if g.wide() { // there is no negative zero
			g.ins("VPTESTMD", zmm(count), zmm(count), g.mask(1))
			g.ins("VPORD", zmm(sign), zmm(count), g.mask(1), zmm(count))
		} else {
			g.ins("VPCMPEQD", ymm(zero), ymm(count), ymm(spare))
			g.ins("VPANDN", ymm(sign), ymm(spare), ymm(spare))
			g.ins("VPOR", ymm(spare), ymm(count), ymm(count))
		}
		g.copy(count, x)
	}
	g.storeBytes()
	g.ins("DECQ", levelsVectors)
	g.op("JNZ vector")
	g.ins("ADDQ", "$4", levelsBy)
	g.ins("DECQ", groupsLeft)
	g.op("JNZ group")
	g.op("VZEROUPPER")
	g.op("RET")
}

// iq4Levels prints the index of the level nearest to x * by, in groups of 32. What is not
// a number gets the last one.
func (g *groupWriter) iq4Levels() {
	const by, bit = 3, "BX"
	g.ins("MOVQ", "q+0(FP)", levelsTo)
	g.ins("MOVQ", "x+8(FP)", levelsFrom)
	g.ins("MOVQ", "by+16(FP)", levelsBy)
	g.ins("MOVQ", "groups+24(FP)", groupsLeft)
	if g.wide() {
		g.load("iq4Middles<>+0(SB)", iq4AllMiddles)
		for i := range 4 {
			g.ins("MOVL", number(1<<i), bit)
			g.ins("VPBROADCASTD", bit, zmm(iq4Bits+i))
		}
		g.broadcast("iq4Middles<>+32(SB)", iq4Eighth)
	}
	g.printf("\ngroup:\n")
	g.broadcast(in(levelsBy), by)
	for range 2 {
		for i := range 16 / g.lanes {
			x := levelsX + i
			g.load(at(levelsFrom, 32*i), x)
			g.mul(x, by, x)
			g.iq4Index(x)
		}
		g.storeBytes()
	}
	g.ins("ADDQ", "$4", levelsBy)
	g.ins("DECQ", groupsLeft)
	g.op("JNZ group")
	g.op("VZEROUPPER")
	g.op("RET")
}

// Vector registers of iq4Levels with AVX-512: all middles, the eighth in every lane, and bits 0
// to 3 of an index, each in every lane.
const iq4AllMiddles, iq4Eighth, iq4Bits = 16, 17, 20

// iq4Index replaces values by indexes of levels: by bisection, or by counting the middles
// that are not greater.
func (g *groupWriter) iq4Index(x int) {
	if !g.wide() {
		const middle, count, bits = 4, 5, "BX"
		g.zero(count)
		for _, m := range iq4Middles[1:] {
			g.ins("MOVL", fmt.Sprintf("$%#x", math.Float32bits(m)), bits)
			g.ins("VMOVD", bits, xmm(middle))
			g.broadcast(xmm(middle), middle)
			g.ins("VCMPPS", number(notLess), ymm(middle), ymm(x), ymm(middle))
			g.do("VPSUBD", count, middle, count)
		}
		g.copy(count, x)
		return
	}
	const index, tried, middle = 4, 5, 6
	g.compare(notLess, x, iq4Eighth, 1)
	g.ins("VMOVDQA32.Z", zmm(iq4Bits+3), g.mask(1), zmm(index))
	for step := 2; step >= 0; step-- {
		g.do("VPORD", index, iq4Bits+step, tried)
		g.do("VPERMPS", tried, iq4AllMiddles, middle)
		g.compare(notLess, x, middle, 1)
		g.ins("VMOVDQA32", zmm(tried), g.mask(1), zmm(index))
	}
	g.copy(index, x)
}
