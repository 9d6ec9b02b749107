package main

import (
	"context"
	"errors"

	"github.com/urfave/cli/v2"

	"qtool/gguf"
	"qtool/internal/adapt"
	"qtool/internal/chat"
	"qtool/internal/convert"
	"qtool/internal/dataset"
	"qtool/internal/dialogue"
	"qtool/internal/infer"
	"qtool/internal/input"
	"qtool/internal/loop"
	"qtool/internal/model"
	"qtool/internal/ollama"
	"qtool/internal/sensitivity"
	"qtool/internal/tokenizer"
	"qtool/internal/usage"
	"qtool/lora"
	"qtool/quantize"
	"qtool/quantize/imatrix"
	"qtool/safetensors"
)

// The exit codes that scripts may rely on.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitInvalid     = 3
	exitUnsupported = 4
	exitMismatch    = 5
	exitInternal    = 70 // out of memory, or a mistake in the program
	exitInterrupted = 130
)

// codes gives each kind of error its exit code; the first that matches counts.
var codes = []struct {
	kind error
	code int
}{
	{usage.Err, exitUsage},
	{ollama.ErrUnsupported, exitUnsupported},
	{quantize.ErrRequantize, exitUsage},
	{quantize.ErrTarget, exitUsage},
	{quantize.ErrUnknownType, exitUsage},
	{quantize.ErrNoImportance, exitUsage},
	{quantize.ErrNoLayer, exitUsage},
	{gguf.ErrShard, exitUsage},
	{infer.ErrRequest, exitUsage},
	{dialogue.ErrTooLong, exitUsage},
	{errInterrupted, exitInterrupted},
	{quantize.ErrUnsupported, exitUnsupported},
	{gguf.ErrUnsupported, exitUnsupported},
	{convert.ErrUnsupported, exitUnsupported},
	{model.ErrUnsupported, exitUnsupported},
	{tokenizer.ErrUnsupported, exitUnsupported},
	{chat.ErrUnsupported, exitUnsupported},
	{chat.ErrTemplate, exitUnsupported},
	{adapt.ErrUnsupported, exitUnsupported},
	{errDiffers, exitMismatch},
	{adapt.ErrMismatch, exitMismatch},
	{lora.ErrSource, exitMismatch},
	{lora.ErrUnlike, exitMismatch},
	{lora.ErrNoDifference, exitMismatch},
	{adapt.ErrNoEffect, exitMismatch},
	{adapt.ErrNotFinite, exitMismatch},
	{gguf.ErrFormat, exitInvalid},
	{ollama.ErrInvalid, exitInvalid},
	{gguf.ErrMissing, exitInvalid},
	{safetensors.ErrFormat, exitInvalid},
	{convert.ErrInvalid, exitInvalid},
	{quantize.ErrInvalidWeights, exitInvalid},
	{quantize.ErrOtherImportance, exitInvalid},
	{imatrix.ErrFormat, exitInvalid},
	{model.ErrInvalid, exitInvalid},
	{tokenizer.ErrInvalid, exitInvalid},
	{tokenizer.ErrNoVocab, exitInvalid},
	{adapt.ErrInvalid, exitInvalid},
	{dataset.ErrFormat, exitInvalid},
	{dataset.ErrEmpty, exitInvalid},
	{infer.ErrTextTooShort, exitInvalid},
	{sensitivity.ErrTextTooShort, exitInvalid},
	{loop.ErrCheckpoint, exitInvalid},
	{input.ErrNotRegular, exitInvalid},
	{input.ErrTooLarge, exitInvalid},
	{input.ErrCount, exitInvalid},
}

// errInterrupted is the error of a command whose user typed Ctrl-C where that is no signal.
var errInterrupted = errors.New("interrupted")

func exitCode(ctx context.Context, err error) int {
	if err == nil {
		return exitDone
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return exitInterrupted
	}
	for _, c := range codes {
		if errors.Is(err, c.kind) {
			return c.code
		}
	}
	if coder := cli.ExitCoder(nil); errors.As(err, &coder) {
		return exitUsage // the flag library's own, such as an unknown help topic
	}
	return exitFailed
}

// usagef is the error about a command line that makes no sense.
func usagef(format string, args ...any) error { return usage.Errorf(format, args...) }
