//go:build !linux && !darwin && !windows

package mmap

import (
	"errors"
	"os"
)

func mapFile(*os.File, int) ([]byte, error) { return nil, errors.ErrUnsupported }
func unmap([]byte) error                    { return errors.ErrUnsupported }
func willNeed([]byte)                       {}
func dontNeed([]byte)                       {}
