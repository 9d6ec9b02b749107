package main

import (
	"math"
	"os"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"qtool/internal/source"
)

// scaledAdapter is an adapter as users name it: ADAPTER[:SCALE].
type scaledAdapter struct {
	path  string
	scale float32
}

// scaledPath is the path in ADAPTER[:SCALE]. What names a file as it is has no scale.
func scaledPath(arg string) string {
	if i := strings.LastIndexByte(arg, ':'); i > 0 && !isFile(arg) {
		if _, err := strconv.ParseFloat(arg[i+1:], 32); err == nil {
			return arg[:i]
		}
	}
	return arg
}

func isFile(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// parseScaled reads ADAPTER[:SCALE] and looks whether the adapter is there.
func parseScaled(arg string) (scaledAdapter, error) {
	a := scaledAdapter{path: scaledPath(arg), scale: 1}
	if len(a.path) < len(arg) {
		s, _ := strconv.ParseFloat(arg[len(a.path)+1:], 32)
		if math.IsNaN(s) || math.IsInf(s, 0) {
			return a, usagef("%q: the scale of an adapter is a number, as in %s:0.5", arg, a.path)
		}
		a.scale = float32(s)
	}
	return a, source.Found("", a.path)
}

// adapterFlag is --lora of commands that run a model.
func adapterFlag() cli.Flag {
	return &cli.StringSliceFlag{
		Name: "lora", Usage: "run with the LoRA adapter `A[:SCALE]` (a .gguf file); may be repeated, and all are added up",
		Action: func(_ *cli.Context, args []string) error {
			for _, arg := range args {
				if err := source.Found("--lora: ", scaledPath(arg)); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// scaledPaths are the paths in several ADAPTER[:SCALE].
func scaledPaths(args []string) (paths []string) {
	for _, arg := range args {
		paths = append(paths, scaledPath(arg))
	}
	return paths
}
