package main

import "fmt"

// Searches in lists of lattice points, a vector of points at a time: each coordinate of a
// point picks its term of the sum of squares from a register.

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
	g.op("MOVQ places+0(FP), SI")
	g.op("MOVQ vectors+8(FP), CX")
	g.op("MOVQ x+16(FP), BX")
	g.op("MOVQ weights+24(FP), DX")
	g.op("MOVQ levels+40(FP), DI")
	g.broadcast("scale+32(FP)", pointIndex)
	g.load("(DI)", pointLevels)
	g.mul(pointIndex, pointLevels, pointLevels)
	for i := range dims {
		g.broadcast(fmt.Sprintf("%d(BX)", 4*i), pointPlaces)
		g.broadcast(fmt.Sprintf("%d(DX)", 4*i), pointIndex)
		g.sub(pointLevels, pointPlaces, pointPlaces)
		g.mul(pointIndex, pointPlaces, i)
		g.mul(i, pointPlaces, i)
	}
	g.op("MOVL $0x7f7fffff, AX // the greatest float32")
	g.op("VMOVD AX, X%d", pointBest)
	g.op("VPBROADCASTD X%d, %s", pointBest, g.v(pointBest))
	g.zero(pointPosition)
	g.op("MOVQ $0x0706050403020100, AX // each lane's number")
	g.op("VMOVQ AX, X%d", pointNow)
	if g.wide() {
		g.op("MOVQ $0x0f0e0d0c0b0a0908, AX")
		g.op("VPINSRQ $1, AX, X%[1]d, X%[1]d", pointNow)
	}
	g.op("VPMOVZXBD X%d, %s", pointNow, g.v(pointNow))
	g.op("MOVL $%d, AX", g.lanes)
	g.op("VMOVD AX, X%d", pointStep)
	g.op("VPBROADCASTD X%d, %s", pointStep, g.v(pointStep))
	g.printf("\nloop:\n")
	g.op("VPMOVZXWD (SI), %s", g.v(pointPlaces))
	for i := range dims {
		index := pointPlaces
		if i > 0 {
			index = pointIndex
			g.op("VPSRLD $%d, %s, %s", bits*i, g.v(pointPlaces), g.v(index))
		}
		if i == 0 {
			g.op("VPERMPS %s, %s, %s", g.v(i), g.v(index), g.v(pointSum))
			continue
		}
		g.op("VPERMPS %s, %s, %s", g.v(i), g.v(index), g.v(pointIndex))
		g.add(pointSum, pointIndex, pointSum)
	}
	g.compare(lessThan, pointSum, pointBest, 1)
	g.merge(1, pointSum, pointBest)
	g.merge(1, pointNow, pointPosition)
	g.op("VPADDD %[1]s, %[2]s, %[2]s", g.v(pointStep), g.v(pointNow))
	g.op("ADDQ $%d, SI", 2*g.lanes)
	g.op("DECQ CX")
	g.op("JNZ loop")
	g.firstLeast()
	g.op("MOVQ AX, ret+48(FP)")
	g.op("VZEROUPPER")
	g.op("RET")
}

// firstLeast leaves the position of the least sum in AX, the first of equals.
func (g *groupWriter) firstLeast() {
	g.copy(pointBest, 0)
	g.foldLanes("VMINPS", 0, 1)
	g.op("VBROADCASTSS X0, %s", g.v(0))
	if g.wide() {
		g.op("VPTERNLOGD $0xff, Z1, Z1, Z1")
	} else {
		g.op("VPCMPEQD Y1, Y1, Y1")
	}
	g.compare(0, pointBest, 0, 1)
	g.merge(1, pointPosition, 1)
	g.foldLanes("VPMINUD", 1, 0)
	g.op("VMOVD X1, AX")
}

// foldLanes reduces register i to its first lane.
func (g *groupWriter) foldLanes(op string, i, spare int) {
	if g.wide() {
		g.op("VEXTRACTI64X4 $1, Z%d, Y%d", i, spare)
		g.op("%[1]s Y%[3]d, Y%[2]d, Y%[2]d", op, i, spare)
	}
	g.op("VEXTRACTI128 $1, Y%d, X%d", i, spare)
	g.op("%[1]s X%[3]d, X%[2]d, X%[2]d", op, i, spare)
	g.op("VPSHUFD $0x4e, X%d, X%d", i, spare)
	g.op("%[1]s X%[3]d, X%[2]d, X%[2]d", op, i, spare)
	g.op("VPSHUFD $0xb1, X%d, X%d", i, spare)
	g.op("%[1]s X%[3]d, X%[2]d, X%[2]d", op, i, spare)
}
