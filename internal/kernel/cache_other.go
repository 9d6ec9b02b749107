//go:build !amd64 || purego

package kernel

func levelTwoBytes() int { return unknownLevelTwo }
