// Package memory asks the system how much memory the program can have, and which limit
// says so. It knows nothing of models: what a computation needs is told by whoever
// computes, who compares both before the work begins. Where the system does not tell,
// there is no limit.
//
// It imports golang.org/x/sys and the standard library only.
package memory
