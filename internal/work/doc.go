// Package work holds the fixed pool of workers that all computing runs on: tasks in parts,
// shared out so that a worker finds again in its caches what it wrote before, and ended
// early when a context ends.
//
// It may import internal/panics. It does not know what is computed.
package work
