//go:build !linux

package main

// memoryLimits is empty: they are not asked here.
func memoryLimits() []string { return nil }
