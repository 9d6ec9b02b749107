//go:build !unix

package sharedtest

import "time"

// CPUTime is 0: it is not asked here, and tests that need it find nothing.
func CPUTime() time.Duration { return 0 }
