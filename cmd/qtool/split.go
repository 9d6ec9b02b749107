package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"qtool/gguf"
	"qtool/internal/outputs"
	"qtool/internal/printable"
	"qtool/internal/source"
)

// defaultShardTensors is llama-gguf-split's.
const defaultShardTensors = 128

func splitCommand() *cli.Command {
	return &cli.Command{
		Name:  "split",
		Usage: "divide a GGUF file into shards",
		UsageText: `qtool split [--max-size SIZE | --max-tensors N] MODEL.gguf OUT

qtool split --max-size 2G model.gguf model
qtool split --max-tensors 64 --dry-run model.gguf model`,
		Description: `The shards are named OUT-00001-of-00003.gguf and so on; every command takes the first
one as MODEL. A model that fits one shard is one file OUT.gguf, without a number.`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "max-size", Aliases: []string{"split-max-size"}, Usage: "at most `SIZE` of weights in a shard, such as 2G or 1.5GiB"},
			&cli.IntFlag{Name: "max-tensors", Aliases: []string{"split-max-tensors"},
				Usage: "at most `N` tensors in a shard", DefaultText: fmt.Sprintf("%d without --max-size", defaultShardTensors)},
			&cli.BoolFlag{Name: "no-tensor-first-split", Usage: "put the metadata into a shard of its own"},
			&cli.BoolFlag{Name: "dry-run", Usage: "print the shards and write nothing"},
			jsonFlag(),
		},
		Action: runSplit,
	}
}

func runSplit(c *cli.Context) error {
	args, err := arguments(c, "MODEL.gguf", "OUT")
	if err != nil {
		return err
	}
	opts, err := shardLimits(c)
	if err != nil {
		return err
	}
	output, inputs := withSuffix(args[1]), source.Paths(args[0])
	if !c.Bool("dry-run") {
		if err := outputs.CheckModel(inputs, output, true); err != nil {
			return err
		}
	}
	m, err := openToSplit(c, args[0])
	if err != nil {
		return err
	}
	defer m.Close()
	con := newConsole(c)
	if !c.Bool("dry-run") {
		if err := checkModel(inputs, output, m, opts); err != nil {
			return err
		}
		if _, err := writeModel(c, con, m, output, opts); err != nil {
			return err
		}
	}
	return reportShards(con, output, m, opts)
}

func shardLimits(c *cli.Context) ([]gguf.WriteOption, error) {
	var opts []gguf.WriteOption
	tensors := c.Int("max-tensors")
	switch size := c.String("max-size"); {
	case size != "":
		limit, err := parseSize(size)
		if err != nil {
			return nil, fmt.Errorf("--max-size: %w", err)
		}
		opts = append(opts, gguf.WithSplit(limit))
	case !c.IsSet("max-tensors"):
		tensors = defaultShardTensors
	}
	if c.IsSet("max-tensors") && tensors < 1 {
		return nil, usagef("--max-tensors %d: expected at least 1", tensors)
	}
	opts = append(opts, gguf.WithSplitTensors(tensors))
	if c.Bool("no-tensor-first-split") {
		opts = append(opts, gguf.WithEmptyFirst())
	}
	return opts, nil
}

// reportShards lists the files of m as WriteFile makes them.
func reportShards(con *console, output string, m gguf.Model, opts []gguf.WriteOption) error {
	shards, err := gguf.ShardFiles(output, m, opts...)
	if err != nil {
		return err
	}
	if con.json {
		return con.printJSON(map[string]any{"shards": shards})
	}
	for _, s := range shards {
		fmt.Fprintf(con.out, "%s  %d tensors, %s\n", s.Path, s.Tensors, printable.Bytes(s.Bytes))
	}
	return nil
}

func joinCommand() *cli.Command {
	return &cli.Command{
		Name:  "join",
		Usage: "make one GGUF file of the shards of a split model",
		UsageText: `qtool join SHARD OUT.gguf

qtool join model-00001-of-00003.gguf model.gguf`,
		Description: `SHARD is the first shard; the others must lie beside it. An OUT.gguf that is there
already is replaced once the new one is complete.`,
		Flags:  []cli.Flag{jsonFlag()},
		Action: runJoin,
	}
}

func runJoin(c *cli.Context) error {
	args, err := arguments(c, "SHARD", "OUT.gguf")
	if err != nil {
		return err
	}
	inputs := []string{args[0]}
	if err := outputs.Check(inputs, args[1]); err != nil {
		return err
	}
	m, err := openGGUF(args[0])
	if err != nil {
		return err
	}
	defer m.Close()
	if len(m.Paths()) == 1 {
		return usagef("%s is no shard: it is a whole model already", args[0])
	}
	if err := checkModel(inputs, args[1], m, nil); err != nil {
		return err
	}
	con := newConsole(c)
	if _, err := writeModel(c, con, m, args[1], nil); err != nil {
		return err
	}
	return reportShards(con, args[1], m, nil)
}

// openToSplit opens a GGUF file, a model that Ollama keeps or the embedded one.
func openToSplit(c *cli.Context, path string) (source.Model, error) {
	if source.IsOllama(path) || path == source.Embedded {
		return openModel(c, path)
	}
	f, err := openGGUF(path)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// openGGUF opens a GGUF file with the type and order of its tensors as they are.
func openGGUF(path string) (*gguf.File, error) {
	if err := source.Found("", path); err != nil {
		return nil, err
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return nil, usagef("%s is a folder; give a GGUF file, or write this model with qtool quantize --type COPY --split-max-size", path)
	}
	return gguf.Open(path)
}

// withSuffix is the name of a GGUF file that is given with or without its suffix.
func withSuffix(path string) string {
	return strings.TrimSuffix(path, ".gguf") + ".gguf"
}
