package input

import (
	"testing"

	"qtool/internal/sharedtest"
)

// byThemselves are the places that may open files without this package: none of what they
// open is named by a user or lies in a user's folder.
var byThemselves = []string{
	"internal/input/",
	"internal/atomicfile/",     // what is being written
	"internal/sharedtest/",     // reference data of tests
	"internal/kernel/_asm/",    // generates assembly
	"fixtures/",                // makes models for tests
	"internal/bench/cpu.go",    // /proc
	"internal/bench/rss_linux", // /proc
	"internal/bench/evict_linux.go",
	"internal/memory/", // /proc and control groups
}

func TestEveryInputIsOpenedByThisPackage(t *testing.T) {
	opening := map[string]bool{"Open": true, "OpenFile": true, "ReadFile": true, "DirFS": true, "OpenRoot": true, "OpenInRoot": true}
	sharedtest.FindUsesOfOS(t, opening, byThemselves, "internal/input, which refuses what is no file and reads no more than allowed")
}
