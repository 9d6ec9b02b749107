//go:build !amd64 || purego

package simd

// LevelTwoBytes is the size of a core's L2 cache.
func LevelTwoBytes() int { return unknownLevelTwo }
