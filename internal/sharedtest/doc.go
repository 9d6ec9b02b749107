// Package sharedtest finds the reference data that tests compare with. It is
// imported by tests only.
package sharedtest
