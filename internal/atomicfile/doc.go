// Package atomicfile writes files that exist whole or not at all: the content
// goes to a temporary name in the same folder and takes its own name only once
// it is complete and on the disk.
//
// It imports the standard library only, knows nothing of what is written, and
// never touches the target before Commit.
package atomicfile
