// Package bench measures this machine: products over quantized weights against
// its own peak, training and forward passes over synthetic models of any shape.
//
// It may import everything below cmd. It measures and reports numbers; judging
// and printing them is left to others.
package bench
