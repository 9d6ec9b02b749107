package simd

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// Tier is a set of instructions. On one tier a result never depends on the number of
// workers or of tokens; between tiers last bits differ.
type Tier uint8

const (
	Go         Tier = iota // no assembly: the twin of every kernel
	NEON                   // any arm64
	AVX2                   // with FMA, F16C and BMI2
	AVX512                 // F, BW, DQ and VL, with all that AVX2 needs
	AVX512BF16             // AVX512 with products of bfloat16

	// Tiers is how many there are on all platforms: the length of tables.
	Tiers = iota
)

// names are those that QTOOL_CPU takes.
var names = [Tiers]string{"go", "neon", "avx2", "avx512", "avx512bf16"}

func (t Tier) String() string { return names[t] }

// active is the tier in use. With the tables of kernels it is the only state of the
// program that outlives a call.
var active Tier

// environment is the reason why QTOOL_CPU was not honoured, or nil.
var environment error

func init() {
	active = Available()[0]
	if name := os.Getenv("QTOOL_CPU"); name != "" {
		if _, err := Use(name); err != nil {
			environment = fmt.Errorf("QTOOL_CPU: %w", err)
		}
	}
}

// Active is the tier in use.
func Active() Tier { return active }

// Available lists the tiers that this machine has and this build was made with, fastest
// first.
func Available() []Tier { return append(detect(), Go) }

// Names are the names of Available.
func Names() (all []string) {
	for _, t := range Available() {
		all = append(all, t.String())
	}
	return all
}

// EnvironmentError says why the environment variable QTOOL_CPU could not be
// honoured; it is nil if it was, or is not set. Commands report it and stop.
func EnvironmentError() error { return environment }

// Use selects a tier by name and returns the function that undoes it. It must not be
// called while kernels run.
func Use(name string) (undo func(), err error) {
	before := active
	for _, t := range Available() {
		if t.String() == name {
			active = t
			return func() { active = before }, nil
		}
	}
	available := strings.Join(Names(), ", ")
	if slices.Contains(names[:], name) {
		return nil, fmt.Errorf("this machine or build does not have the tier %q; it has %s", name, available)
	}
	return nil, fmt.Errorf("%q is not the name of a tier; this machine has %s", name, available)
}
