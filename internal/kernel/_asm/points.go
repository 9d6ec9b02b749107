package main

// Searches in lists of lattice points, a vector of points at a time: each coordinate of a
// point picks its term of the sum of squares from a register.

const (
	pointPlacesAt  = "SI" // the points at hand, their coordinates in a word
	pointVectors   = "CX" // that are left
	pointXAt       = "BX"
	pointWeightsAt = "DX"
	pointLevelsAt  = "DI"
)

// Vector registers of these searches: from 0 on, the terms of the levels of each coordinate;
// then
const (
	pointLevels, pointSum    = 8, 8 // the levels, scaled, until there are terms
	pointPlaces, pointIndex  = 9, 10
	pointBest, pointPosition = 11, 12
	pointNow, pointStep      = 13, 14
)

// emitNearestPoint prints the search for points of dims coordinates of so many bits.
func (g *groupWriter) emitNearestPoint(name string, dims, bits int) {
	g.printf("\n// func %s%s(places *uint16, vectors int, x, weights *float32, scale float32, levels *[16]float32) int\n", name, g.tier)
	g.printf("TEXT ·%s%s(SB), NOSPLIT, $0-56\n", name, g.tier)
	g.ins("MOVQ", "places+0(FP)", pointPlacesAt)
	g.ins("MOVQ", "vectors+8(FP)", pointVectors)
	g.ins("MOVQ", "x+16(FP)", pointXAt)
	g.ins("MOVQ", "weights+24(FP)", pointWeightsAt)
	g.ins("MOVQ", "levels+40(FP)", pointLevelsAt)
	const scale = pointIndex
	g.broadcast("scale+32(FP)", scale)
	g.load(in(pointLevelsAt), pointLevels)
	g.mul(scale, pointLevels, pointLevels)
	for i := range dims {
		const x, difference, weight = pointPlaces, pointPlaces, pointIndex
		terms := i
		g.broadcast(at(pointXAt, 4*i), x)
		g.broadcast(at(pointWeightsAt, 4*i), weight)
		g.sub(pointLevels, x, difference)
		g.mul(weight, difference, terms)
		g.mul(terms, difference, terms)
	}
	g.ins("MOVL", "$0x7f7fffff", scratch+" // the greatest float32")
	g.ins("VMOVD", scratch, xmm(pointBest))
	g.ins("VPBROADCASTD", xmm(pointBest), g.v(pointBest))
	g.zero(pointPosition)
	g.ins("MOVQ", "$0x0706050403020100", scratch+" // each lane's number")
	g.ins("VMOVQ", scratch, xmm(pointNow))
	if g.wide() {
		g.ins("MOVQ", "$0x0f0e0d0c0b0a0908", scratch)
		g.ins("VPINSRQ", "$1", scratch, xmm(pointNow), xmm(pointNow))
	}
	g.ins("VPMOVZXBD", xmm(pointNow), g.v(pointNow))
	g.ins("MOVL", number(g.lanes), scratch)
	g.ins("VMOVD", scratch, xmm(pointStep))
	g.ins("VPBROADCASTD", xmm(pointStep), g.v(pointStep))
	g.printf("\nloop:\n")
	g.ins("VPMOVZXWD", in(pointPlacesAt), g.v(pointPlaces))
	for i := range dims {
		index := pointPlaces
		if i > 0 {
			index = pointIndex
			g.ins("VPSRLD", number(bits*i), g.v(pointPlaces), g.v(index))
		}
		if i == 0 {
			g.ins("VPERMPS", g.v(i), g.v(index), g.v(pointSum))
			continue
		}
		g.ins("VPERMPS", g.v(i), g.v(index), g.v(pointIndex))
		g.add(pointSum, pointIndex, pointSum)
	}
	g.compare(lessThan, pointSum, pointBest, 1)
	g.merge(1, pointSum, pointBest)
	g.merge(1, pointNow, pointPosition)
	g.ins("VPADDD", g.v(pointStep), g.v(pointNow), g.v(pointNow))
	g.ins("ADDQ", number(2*g.lanes), pointPlacesAt)
	g.ins("DECQ", pointVectors)
	g.op("JNZ loop")
	g.firstLeast()
	g.ins("MOVQ", scratch, "ret+48(FP)")
	g.op("VZEROUPPER")
	g.op("RET")
}

// firstLeast leaves the position of the least sum in scratch, the first of equals.
func (g *groupWriter) firstLeast() {
	const least, position, spare = 0, 1, 1
	g.copy(pointBest, least)
	g.foldLanes("VMINPS", least, spare)
	g.broadcast(xmm(least), least)
	if g.wide() {
		g.ins("VPTERNLOGD", "$0xff", zmm(position), zmm(position), zmm(position))
	} else {
		g.ins("VPCMPEQD", ymm(position), ymm(position), ymm(position))
	}
	g.compare(equal, pointBest, least, 1)
	g.merge(1, pointPosition, position)
	g.foldLanes("VPMINUD", position, least)
	g.ins("VMOVD", xmm(position), scratch)
}

// foldLanes reduces register i to its first lane.
func (g *groupWriter) foldLanes(op string, i, spare int) {
	if g.wide() {
		g.ins("VEXTRACTI64X4", "$1", zmm(i), ymm(spare))
		g.ins(op, ymm(spare), ymm(i), ymm(i))
	}
	g.ins("VEXTRACTI128", "$1", ymm(i), xmm(spare))
	g.ins(op, xmm(spare), xmm(i), xmm(i))
	g.ins("VPSHUFD", "$0x4e", xmm(i), xmm(spare))
	g.ins(op, xmm(spare), xmm(i), xmm(i))
	g.ins("VPSHUFD", "$0xb1", xmm(i), xmm(spare))
	g.ins(op, xmm(spare), xmm(i), xmm(i))
}
