//go:build !linux

package bench

func evict(path string) {}
