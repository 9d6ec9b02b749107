// Package followup says what can be done with the result of a training, as command lines
// that can be pasted into a shell. It runs none of them.
package followup
