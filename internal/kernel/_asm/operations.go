package main

import "math"

// Vector registers of gated networks.
const (
	vGate, vUp, vSigmoid, vDy = 0, 1, 2, 3
	vResult                   = 4
)

var (
	gatedPointers    = []string{elementGate, elementUp, elementDst}
	backwardPointers = []string{elementGate, elementUp, elementDst, elementDup, elementDy}
)

var operations = []operation{
	{
		"exp", "dst, src *float32, n int, shift float32", "float64",
		"for i < n { dst[i] = exp(src[i] - shift); sum += dst[i] }",
		func(l *lanesWriter) {
			const x, shift = 0, 5
			l.argument("dst", 0, elementDst)
			l.argument("src", 8, elementGate)
			l.argument("n", 16, remaining)
			l.ins("VBROADCASTSS", "shift+24(FP)", l.v(shift))
			l.zero(laneSums)
			l.zero(laneSums + 1)
			l.loop([]string{elementGate, elementDst}, func() {
				l.load(elementGate, x)
				l.do("VSUBPS", shift, x, x)
				l.exp(x)
				l.keep(x)
				l.store(x, elementDst)
				l.addWidened(x)
			})
			l.foldWidened()
			l.ins("VMOVSD", xmm(laneSum), "ret+32(FP)")
		},
	},
	{
		"swiglu", "dst, gate, up *float32, n int", "",
		"for i < n { dst[i] = gate[i] / (1 + exp(-gate[i])) · up[i] }",
		func(l *lanesWriter) {
			l.arguments("dst", "gate", "up", "n")
			l.loop(gatedPointers, func() {
				l.load(elementGate, vGate)
				l.load(elementUp, vUp)
				l.sigmoid(vGate, vSigmoid)
				l.do("VMULPS", vSigmoid, vGate, vGate)
				l.do("VMULPS", vUp, vGate, vGate)
				l.store(vGate, elementDst)
			})
		},
	},
	{
		"swigluBackward", "dgate, dup, gate, up, dy *float32, n int", "",
		"s = 1 / (1 + exp(-gate)): dup = dy·gate·s, dgate = dy·up·s·(1 + gate·(1-s))",
		func(l *lanesWriter) {
			const slope = vSigmoid
			l.arguments("dgate", "dup", "gate", "up", "dy", "n")
			l.loop(backwardPointers, func() {
				l.load(elementGate, vGate)
				l.load(elementUp, vUp)
				l.load(elementDy, vDy)
				l.sigmoid(vGate, vSigmoid)
				l.do("VMULPS", vSigmoid, vDy, vDy) // dy·s
				l.do("VMULPS", vDy, vGate, vResult)
				l.store(vResult, elementDup)
				l.do("VMULPS", vUp, vDy, vDy) // dy·up·s
				l.constant(cOne, laneOne)
				l.do("VSUBPS", vSigmoid, laneOne, slope)
				l.do("VFMADD213PS", laneOne, vGate, slope)
				l.do("VMULPS", vDy, slope, vResult)
				l.store(vResult, elementDst)
			})
		},
	},
	{
		"geglu", "dst, gate, up *float32, n int", "",
		"for i < n { dst[i] = gate[i] / (1 + exp(-2u)) · up[i] }, 2u = gate·(c + d·gate²)",
		func(l *lanesWriter) {
			const square, argument = 3, 4
			l.arguments("dst", "gate", "up", "n")
			l.loop(gatedPointers, func() {
				l.load(elementGate, vGate)
				l.load(elementUp, vUp)
				l.geluArgument(vGate, square, argument)
				l.sigmoid(argument, vSigmoid)
				l.do("VMULPS", vSigmoid, vGate, vGate)
				l.do("VMULPS", vUp, vGate, vGate)
				l.store(vGate, elementDst)
			})
		},
	},
	{
		"roundedGeglu", "dst, gate, up *float32, n int, table *float32", "",
		"for i < n { g = gate[i]; dst[i] = g <= -10 ? 0 : (g >= 10 ? g : table[float16 bits of g]) · up[i] }",
		func(l *lanesWriter) {
			const index, y, highest, lowest, mask = 2, 3, 4, 5, 6
			const gathered, outside = "K2", "K3" // AVX-512
			const table = "R8"
			l.arguments("dst", "gate", "up", "n")
			l.argument("table", 32, table)
			l.broadcastBits(math.Float32bits(10), highest)
			l.broadcastBits(math.Float32bits(-10), lowest)
			l.loop(gatedPointers, func() {
				l.load(elementGate, vGate)
				l.load(elementUp, vUp)
				l.ins("VCVTPS2PH", "$0", l.v(vGate), l.lower(index))
				l.ins("VPMOVZXWD", l.lower(index), l.v(index))
				entry := in(table) + times(l.v(index), 4)
				if l.wide() {
					l.ins("KXNORW", gathered, gathered, gathered)
					l.ins("VGATHERDPS", entry, gathered, zmm(y))
					l.ins("VCMPPS", "$13", zmm(highest), zmm(vGate), outside+" // at least")
					l.ins("VMOVAPS", zmm(vGate), outside, zmm(y))
					l.do("VMULPS", vUp, y, y)
					l.ins("VCMPPS", "$6", zmm(lowest), zmm(vGate), outside+" // not at most")
					l.ins("VMOVAPS.Z", zmm(y), outside, zmm(y))
				} else {
					l.do("VPCMPEQD", mask, mask, mask)
					l.ins("VGATHERDPS", ymm(mask), entry, ymm(y))
					l.ins("VCMPPS", "$13", ymm(highest), ymm(vGate), ymm(mask)+" // at least")
					l.do("VBLENDVPS", mask, vGate, y, y)
					l.do("VMULPS", vUp, y, y)
					l.ins("VCMPPS", "$6", ymm(lowest), ymm(vGate), ymm(mask)+" // not at most")
					l.do("VANDPS", mask, y, y)
				}
				l.store(y, elementDst)
			})
		},
	},
	{
		"gegluBackward", "dgate, dup, gate, up, dy *float32, n int", "",
		"s = 1 / (1 + exp(-2u)): dup = dy·gate·s, dgate = dy·up·(s + gate·s·(1-s)·(c + 3·d·gate²))",
		func(l *lanesWriter) {
			const product, up, argument, slope, square = 1, 1, 4, 5, 5
			const factor, derivative = 3, 4 // factor: of the slope
			l.arguments("dgate", "dup", "gate", "up", "dy", "n")
			l.loop(backwardPointers, func() {
				l.load(elementGate, vGate)
				l.geluArgument(vGate, square, argument)
				l.constant(cGeluSlope, factor)
				l.withConstant("VFMADD213PS", cGelu, factor, slope) // the slope of 2u
				l.sigmoid(argument, vSigmoid)
				l.load(elementDy, vDy)
				l.do("VMULPS", vSigmoid, vGate, product) // gate·s
				l.do("VMULPS", product, vDy, vResult)
				l.store(vResult, elementDup)
				l.constant(cOne, derivative)
				l.do("VSUBPS", vSigmoid, derivative, derivative)
				l.do("VMULPS", product, derivative, derivative) // 0 for large gates: before the slope
				l.do("VFMADD213PS", vSigmoid, slope, derivative)
				l.load(elementUp, up)
				l.do("VMULPS", up, vDy, vDy) // dy·up
				l.do("VMULPS", vDy, derivative, product)
				l.store(product, elementDst)
			})
		},
	},
	{
		"highest", "v *float32, n int", "float32",
		"highest = -Inf; for i < n { if v[i] > highest { highest = v[i] } }",
		func(l *lanesWriter) {
			const x, highest = 0, 10
			l.argument("v", 0, elementGate)
			l.argument("n", 8, remaining)
			l.broadcastBits(math.Float32bits(float32(math.Inf(-1))), highest)
			l.loop([]string{elementGate}, func() {
				l.load(elementGate, x)
				switch { // NaN in the first operand gives the second
				case !l.masked:
					l.do("VMAXPS", highest, x, highest)
				case l.wide():
					l.ins("VMAXPS", zmm(highest), zmm(x), maskRest, zmm(highest))
				default:
					l.do("VBLENDVPS", laneMask, x, highest, x)
					l.do("VMAXPS", highest, x, highest)
				}
			})
			l.foldHighest(highest)
		},
	},
	{
		"scale", "dst, a, b *float32, s float32, n int", "",
		"for i < n { dst[i] = a[i]·s·b[i] }",
		func(l *lanesWriter) {
			const a, b, s = 0, 1, 5
			l.argument("dst", 0, elementDst)
			l.argument("a", 8, elementGate)
			l.argument("b", 16, elementUp)
			l.ins("VBROADCASTSS", "s+24(FP)", l.v(s))
			l.argument("n", 32, remaining)
			l.loop(gatedPointers, func() {
				l.load(elementGate, a)
				l.load(elementUp, b)
				l.do("VMULPS", s, a, a)
				l.do("VMULPS", b, a, a)
				l.store(a, elementDst)
			})
		},
	},
	{
		"dot64", "a, b *float32, n int", "float64",
		"for i < n { lane[i%lanes] += float64(a[i])·float64(b[i]) }",
		func(l *lanesWriter) {
			const a, b, upperA, upperB = 0, 1, 2, 3
			l.argument("a", 0, elementGate)
			l.argument("b", 8, elementUp)
			l.argument("n", 16, remaining)
			l.zero(laneSums)
			l.zero(laneSums + 1)
			l.loop([]string{elementGate, elementUp}, func() {
				l.load(elementGate, a)
				l.load(elementUp, b)
				l.upper(a, upperA)
				l.upper(b, upperB)
				for _, i := range []int{a, b, upperA, upperB} {
					l.ins("VCVTPS2PD", l.lower(i), l.v(i))
				}
				l.do("VFMADD231PD", a, b, laneSums)
				l.do("VFMADD231PD", upperA, upperB, laneSums+1)
			})
			l.foldWidened()
			l.ins("VMOVSD", xmm(laneSum), "ret+24(FP)")
		},
	},
}

// foldHighest returns the greatest lane.
func (l *lanesWriter) foldHighest(lanes int) {
	const highest, spare = 0, 1
	if l.wide() {
		l.ins("VEXTRACTF64X4", "$1", zmm(lanes), ymm(highest))
		l.ins("VMAXPS", ymm(highest), ymm(lanes), ymm(lanes))
	}
	l.ins("VEXTRACTF128", "$1", ymm(lanes), xmm(highest))
	l.ins("VMAXPS", xmm(highest), xmm(lanes), xmm(highest))
	l.ins("VMOVHLPS", xmm(highest), xmm(highest), xmm(spare))
	l.ins("VMAXPS", xmm(spare), xmm(highest), xmm(highest))
	l.ins("VMOVSHDUP", xmm(highest), xmm(spare))
	l.ins("VMAXSS", xmm(spare), xmm(highest), xmm(highest))
	l.ins("VMOVSS", xmm(highest), "ret+16(FP)")
}
