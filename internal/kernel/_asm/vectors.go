package main

import (
	"math"

	"qtool/internal/codebook"
)

// A vector is a constant of 16 lanes in the decoders' files; those of 8 lanes use
// the first half.
type vector struct {
	name  string
	lanes [16]uint32
}

var vectors = []vector{
	// Where bit pairs, and the coordinates of a point, are.
	{"pairShifts", lanes(func(i int) uint32 { return uint32(2 * i) })},
	{"nibbleShifts", lanes(func(i int) uint32 { return uint32(i / 8 * 4) })},
	{"nibbleShiftWords", words(func(i int) uint16 { return uint16(i / 8 % 2 * 4) })},
	{"wordShifts8", words(func(i int) uint16 { return uint16(i % 8 * 2) })},
	{"wordShifts4", words(func(i int) uint16 { return uint16(i % 4 * 3) })},
	{"shifts8", lanes(func(i int) uint32 { return uint32(i % 8 * 2) })},
	{"shifts4", lanes(func(i int) uint32 { return uint32(i % 4 * 3) })},
	// Bit i of a byte that is broadcast becomes the sign of lane i.
	{"signShifts", lanes(func(i int) uint32 { return uint32(7 - i%8) })},

	// Tables for VPERMPS, which reads 3 or 4 bits of an index: levels of fewer bits
	// are there again for the others.
	{"ternary", floats(func(i int) float32 { return float32(i%4 - 1) })},
	{"unsigned4", floats(func(i int) float32 { return float32(i) })},
	{"signed4", floats(func(i int) float32 { return float32(i - 8) })},
	{"upper5", floats(func(i int) float32 { return float32(16 + i) })},
	{"lower5", floats(func(i int) float32 { return float32(i - 16) })},
	{"fourUnsigned", floats(func(i int) float32 { return float32(i % 4) })},
	{"levelsIQ4", levels(iq4Bytes[:], 16)},
	{"levelsE2M1", levels(e2m1Bytes[:], 16)},
	{"levelsIQ1", levels(codebook.LevelsIQ1[:], 4)},
	{"levelsIQ2", levels(codebook.LevelsIQ2[:], 4)},
	{"levelsIQ3XXS", levels(codebook.LevelsIQ3XXS[:], 8)},
	{"levelsIQ3S", levels(codebook.LevelsIQ3S[:], 8)},

	{"powersOf3", lanes(func(i int) uint32 { return [4]uint32{1, 3, 9, 27}[i/4] })},
	{"wordPowersOf3", words(func(i int) uint16 { return [4]uint16{1, 3, 9, 27}[i/4%4] })},
	{"lowBytes", every(0x00ff00ff)},
	{"upperPowersOf3", lanes(func(i int) uint32 { return [4]uint32{9, 27}[i/4%2] })},

	// Seven bits to a byte, from 28.
	{"bits14", every(0x3fff)},
	{"upperBits14", every(0x3fff0000)},
	{"bits7", every(0x007f007f)},
	{"upperBits7", every(0x7f007f00)},
	{"bytes1", every(0x01010101)},
	{"bytes2", every(0x02020202)},
	{"bytes3", every(0x03030303)},
	{"bytes4", every(0x04040404)},
	{"bytes8", every(0x08080808)},
	{"bytes16", every(0x10101010)},
	{"bytes32", every(0x20202020)},
	{"bytes48", every(0x30303030)},
	{"bytes64", every(0x40404040)},
	{"bytes128", every(0x80808080)},
	{"bitOfByte", every2(0x08040201, 0x80402010)},
	{"lowNibbles", every(0x0f0f0f0f)},
	{"thirtytwos", every(32)},
	{"bits3", every(7)},
	{"bits9", every(0x01ff01ff)},
	{"highBits3", every(0x07000700)},
	{"ninthBits", every(0x01000100)},
	{"bitOfWord", [16]uint32{0x0002_0001, 0x0008_0004, 0x0020_0010, 0x0080_0040, 0x0002_0001, 0x0008_0004, 0x0020_0010, 0x0080_0040}},
	{"minusOnes", every(1<<32 - 1)},
	// Multiplying by these moves bit pair or bit triple i of a word to its top.
	{"pairsToTop", words(func(i int) uint16 { return 1 << (14 - 2*(i%8)) })},
	{"triplesToTop", words(func(i int) uint16 { return 1 << (13 - 3*(i%4)) })},
	// Shuffles within 16 bytes: the words of each half are copies of one or two.
	{"eightByteCopies", bytes16(func(half, i int) byte { return byte(2*half + i/8) })},
	{"eightCopies", bytes16(func(half, i int) byte { return byte(2*half + i%2) })},
	{"fourCopies", bytes16(func(half, i int) byte { return byte(4*half + i/8*2 + i%2) })},
	{"byteCopies", bytes16(func(half, i int) byte { return [2]byte{byte(half), 0x80}[i%2] })},

	{"signBit", every(1 << 31)},
	{"signWords", every(0x80008000)},
	{"eighth", floats(func(int) float32 { return 0.125 })},
	{"half", floats(func(int) float32 { return 0.5 })},
	{"quarter", floats(func(int) float32 { return 0.25 })},
	{"times128", floats(func(int) float32 { return 128 })},
	{"notANumber", every(0x7f7f7f7f)},
}

func lanes(f func(i int) uint32) (v [16]uint32) {
	for i := range v {
		v[i] = f(i)
	}
	return v
}

func every(value uint32) [16]uint32 { return lanes(func(int) uint32 { return value }) }

// every2 alternates.
func every2(even, odd uint32) [16]uint32 {
	return lanes(func(i int) uint32 { return [2]uint32{even, odd}[i%2] })
}

func floats(f func(i int) float32) [16]uint32 {
	return lanes(func(i int) uint32 { return math.Float32bits(f(i)) })
}

// levels repeats a table after so many lanes.
func levels(table []int8, period int) [16]uint32 {
	return floats(func(i int) float32 {
		if i %= period; i < len(table) {
			return float32(table[i])
		}
		return 0
	})
}

func words(f func(i int) uint16) [16]uint32 {
	return lanes(func(i int) uint32 { return uint32(f(2*i)) | uint32(f(2*i+1))<<16 })
}

func bytes16(f func(half, i int) byte) [16]uint32 {
	return lanes(func(l int) (v uint32) {
		for b := range 4 {
			v |= uint32(f(l/4%2, l%4*4+b)) << (8 * b)
		}
		return v
	})
}

func printVectors(w *writer, vectors []vector) {
	w.printf("\n")
	for _, v := range vectors {
		for i, bits := range v.lanes {
			w.printf("DATA %s<>+%d(SB)/4, $%#08x\n", v.name, 4*i, bits)
		}
		w.printf("GLOBL %s<>(SB), RODATA|NOPTR, $64\n\n", v.name)
	}
}

// vector loads a constant.
func (d *decoderWriter) vector(to int, name string) {
	d.op("VMOVUPS %s<>(SB), %s", name, d.v(to))
}
