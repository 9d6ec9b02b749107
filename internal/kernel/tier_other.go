//go:build purego || !amd64

package kernel

func machineTiers() []*tier { return nil }
