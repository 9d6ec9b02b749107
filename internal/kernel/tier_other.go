//go:build purego || (!amd64 && !arm64)

package kernel

func machineTiers() []*tier { return nil }
