package main

import "github.com/urfave/cli/v2"

func loraCommand() *cli.Command {
	return &cli.Command{
		Name:      "lora",
		Usage:     "work on LoRA adapters",
		UsageText: "qtool lora COMMAND [flags]",
		Subcommands: []*cli.Command{
			loraInspectCommand(),
			loraVerifyCommand(),
			loraMergeCommand(),
			loraConvertCommand(),
			loraExtractCommand(),
			loraResizeCommand(),
			loraCombineCommand(),
		},
	}
}
