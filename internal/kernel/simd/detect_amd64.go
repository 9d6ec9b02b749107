//go:build !purego

package simd

import "golang.org/x/sys/cpu"

// detect lists the tiers with assembly that this CPU has, fastest first.
func detect() (tiers []Tier) {
	x := &cpu.X86
	if !x.HasAVX2 || !x.HasFMA || !x.HasF16C || !x.HasBMI2 {
		return nil
	}
	if x.HasAVX512F && x.HasAVX512BW && x.HasAVX512DQ && x.HasAVX512VL {
		if x.HasAVX512BF16 {
			tiers = append(tiers, AVX512BF16)
		}
		tiers = append(tiers, AVX512)
	}
	return append(tiers, AVX2)
}
