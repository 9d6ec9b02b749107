//go:build !purego

package simd

// LevelTwoBytes is the size of a core's L2 cache, which AMD and Intel tell in the
// same place.
func LevelTwoBytes() int {
	const caches = 0x8000_0006
	if most, _ := cpuid(0x8000_0000); most < caches {
		return unknownLevelTwo
	}
	_, c := cpuid(caches)
	if kilobytes := c >> 16; kilobytes > 0 {
		return int(kilobytes) << 10
	}
	return unknownLevelTwo
}

// cpuid returns EAX and ECX of a leaf.
func cpuid(leaf uint32) (a, c uint32)
