package main

import (
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"qtool/internal/source"
	"qtool/internal/tokenizer"
)

// inputFlag is a flag that names a file or folder to read, which must be there; "-" is
// standard input.
func inputFlag(f *cli.StringFlag) cli.Flag {
	f.Action = func(_ *cli.Context, path string) error { return source.Found("--"+f.Name+": ", path) }
	return f
}

// modelFlag is a flag that names a model, which must be there.
func modelFlag(f *cli.StringFlag) cli.Flag {
	f.Action = func(_ *cli.Context, path string) error { return source.FoundModel("--"+f.Name+": ", path) }
	return f
}

// inputsFlag is inputFlag for a flag that may be repeated.
func inputsFlag(f *cli.StringSliceFlag) cli.Flag {
	f.Action = func(_ *cli.Context, paths []string) error {
		for _, path := range paths {
			if err := source.Found("--"+f.Name+": ", path); err != nil {
				return err
			}
		}
		return nil
	}
	return f
}

// preFlag belongs to every command that takes a Hugging Face folder.
func preFlag() cli.Flag {
	return &cli.StringFlag{
		Name:  "pre",
		Usage: "take `NAME` for the pre-tokenizer of a Hugging Face folder, as tokenizer.ggml.pre has it",
		Action: func(_ *cli.Context, name string) error {
			if known := tokenizer.PreTokenizers(); !slices.Contains(known, name) {
				return usagef("--pre: the pre-tokenizer %q is not known; these are: %s", name, strings.Join(known, ", "))
			}
			return nil
		},
	}
}

// modelSources are models with what --pre says of the folders among them.
func modelSources(c *cli.Context, paths ...string) ([]source.Source, error) {
	pre, folders := c.String("pre"), 0
	var out []source.Source
	for _, path := range paths {
		s := source.Source{Path: path, Note: newConsole(c).sayText}
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			s.Pre, folders = pre, folders+1
		}
		out = append(out, s)
	}
	if pre != "" && folders == 0 {
		return nil, usagef("--pre is about a Hugging Face folder, but %s is none; a GGUF file says what its pre-tokenizer is (quantize --override-kv changes it)",
			strings.Join(paths, " or "))
	}
	return out, nil
}

// trainedModel is the model that --model names for train, where the embedded one has no name.
func trainedModel(c *cli.Context) string {
	if path := c.String("model"); path != source.Embedded {
		return path
	}
	return ""
}

// openModel opens the model at path, with what --pre says of it if it is a folder.
func openModel(c *cli.Context, path string) (source.Model, error) {
	from, err := modelSource(c, path)
	if err != nil {
		return nil, err
	}
	return source.Open(from)
}

// openToRead is openModel for what looks at a model and neither runs it nor makes another
// of it: adapters that Ollama has for it are left out.
func openToRead(c *cli.Context, path string) (source.Model, error) {
	from, err := modelSource(c, path)
	if err != nil {
		return nil, err
	}
	from.Adapters = source.LeaveAdapters
	return source.Open(from)
}

// modelSource is modelSources for one.
func modelSource(c *cli.Context, path string) (source.Source, error) {
	list, err := modelSources(c, path)
	if err != nil {
		return source.Source{}, err
	}
	return list[0], nil
}
