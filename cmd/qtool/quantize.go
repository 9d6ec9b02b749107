package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"qtool/gguf"
	"qtool/quantize"
)

func quantizeCommand() *cli.Command {
	return &cli.Command{
		Name:  "quantize",
		Usage: "convert a model to GGUF and quantize it",
		UsageText: `qtool quantize [--type TYPE] MODEL OUT.gguf

qtool quantize --type Q8_0 model-f16.gguf model-q8.gguf
qtool quantize --type F16 hugging-face-folder/ model-f16.gguf
qtool quantize --type IQ2_XS --imatrix imatrix.gguf model-f16.gguf model-iq2.gguf
qtool quantize --type Q4_0 --dry-run model.gguf`,
		Description: fmt.Sprintf("TYPE is one of %s.", strings.Join(quantize.FileTypes(), ", ")),
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "type", Value: "Q4_K_M", Usage: "file `TYPE` to make"},
			&cli.BoolFlag{Name: "pure", Usage: "give all weights the same type, without the mix of TYPE"},
			&cli.StringFlag{Name: "output-tensor-type", Usage: "store the output head as `TYPE`"},
			&cli.StringFlag{Name: "token-embedding-type", Usage: "store the token embedding as `TYPE`"},
			&cli.BoolFlag{Name: "leave-output-tensor", Usage: "keep the output head as it is"},
			&cli.StringFlag{Name: "imatrix", Usage: "weigh columns by the importance matrix `FILE`"},
			&cli.BoolFlag{Name: "allow-requantize", Usage: "accept a model that is quantized already"},
			&cli.BoolFlag{Name: "dry-run", Usage: "print what each tensor would become, and write nothing"},
			threadsFlag(),
			jsonFlag(),
		},
		Action: runQuantize,
	}
}

func runQuantize(c *cli.Context) error {
	names := []string{"MODEL", "OUT.gguf"}
	if c.Bool("dry-run") {
		names[1] = "[OUT.gguf]"
	}
	args, err := arguments(c, names...)
	if err != nil {
		return err
	}
	con := newConsole(c)
	importance, err := readImportance(con, c.String("imatrix"))
	if err != nil {
		return err
	}
	m, err := openModel(args[0])
	if err != nil {
		return err
	}
	defer m.Close()
	plan, err := quantize.NewPlan(m, quantize.Options{
		FileType: c.String("type"), Pure: c.Bool("pure"),
		OutputType: c.String("output-tensor-type"), EmbeddingType: c.String("token-embedding-type"),
		LeaveOutput: c.Bool("leave-output-tensor"), AllowRequantize: c.Bool("allow-requantize"),
		Importance: importance.weights, Metadata: importance.metadata, Threads: c.Int("threads"),
	})
	if err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	importance.report(con, plan)
	if c.Bool("dry-run") {
		if con.json {
			return con.printJSON(plan)
		}
		_, err := io.WriteString(con.out, plan.String())
		return err
	}
	if err := checkOutput(args[1], append(sources(args[0], m), c.String("imatrix"))...); err != nil {
		return err
	}
	con.detail("%s", plan)
	return writePlan(c, con, plan, args[1])
}

// writePlan writes the model that plan makes.
func writePlan(c *cli.Context, con *console, plan *quantize.Plan, output string) error {
	con.say("%s: %d tensors, %s to %s, %.2f bits per weight", plan.FileType, len(plan.Tensors),
		formatBytes(plan.FromBytes()), formatBytes(plan.ToBytes()), plan.BitsPerWeight())
	bar := con.progress()
	defer bar.Done()
	start := time.Now()
	bar.Start(plan.ToBytes(), "bytes", "writing")
	err := gguf.WriteFile(c.Context, output, plan.Model(), gguf.WithProgress(func(t *gguf.Tensor, written, _ int64) {
		bar.Remark("%s", t.Name)
		bar.Set(written)
	}))
	if err != nil {
		return err
	}
	bar.Done()
	seconds := time.Since(start).Seconds()
	if con.json {
		return con.printJSON(struct {
			Output  string         `json:"output"`
			Seconds float64        `json:"seconds"`
			Plan    *quantize.Plan `json:"plan"`
		}{output, seconds, plan})
	}
	con.say("%s: done in %.1f s", output, seconds)
	return nil
}
