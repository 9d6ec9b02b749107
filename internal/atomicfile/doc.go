// Package atomicfile writes files that exist whole or not at all: the content
// goes to a temporary name in the same folder and takes its own name only once
// it is complete and on the disk. Everything else that the program changes on a
// disk goes through it too: folders, logs, removals, renames, reserved space.
//
// It imports the standard library only, knows nothing of what is written, and
// never touches the target before Commit. All its calls to the operating system
// go to one [System], which tests replace by one that fails or forgets
// (internal/atomicfile/faulty).
package atomicfile
