package atomicfile

import (
	"testing"

	"qtool/internal/sharedtest"
)

// byThemselves are the places that may change a disk without this package: what they
// write is no result of the program.
var byThemselves = []string{
	"internal/atomicfile/",
	"internal/kernel/_asm/",       // generates assembly
	"fixtures/",                   // makes models for tests
	"internal/bench/synthetic.go", // removes its own temporary folder
}

// changing are the functions of package os that change names or contents. Temporary
// files of random names are nobody's result.
var changing = map[string]bool{
	"Create": true, "WriteFile": true, "Mkdir": true, "MkdirAll": true, "Rename": true, "Remove": true,
	"RemoveAll": true, "Truncate": true, "Link": true, "Symlink": true, "Chmod": true,
	"O_WRONLY": true, "O_RDWR": true, "O_CREATE": true, "O_APPEND": true, "O_TRUNC": true,
}

func TestEverythingIsWrittenThroughThisPackage(t *testing.T) {
	sharedtest.FindUsesOfOS(t, changing, byThemselves, "internal/atomicfile, whose calls tests let fail")
}
