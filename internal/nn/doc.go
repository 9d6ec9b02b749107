// Package nn holds the operators of a transformer, forward and backward, the
// tape that records them and the arena their results live in.
//
// It may import the packages of internal/kernel and internal/work. Model code is written once, as a forward pass:
// without recording it infers, with recording it trains, and under
// recomputing [Tape.Block] it computes twice to save memory. It knows no architecture
// and no file.
package nn
