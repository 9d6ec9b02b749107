// Package run has what a training run is described with: its settings, what it is predicted
// to take, and the events that happen in it. It only holds data.
package run
