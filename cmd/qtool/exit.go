package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"qtool/gguf"
	"qtool/internal/adapt"
	"qtool/internal/chat"
	"qtool/internal/convert"
	"qtool/internal/dataset"
	"qtool/internal/infer"
	"qtool/internal/input"
	"qtool/internal/loop"
	"qtool/internal/model"
	"qtool/internal/sensitivity"
	"qtool/internal/tokenizer"
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

var (
	errUsage       = errors.New("wrong usage")
	errUnsupported = errors.New("unsupported")
)

// codes gives each kind of error its exit code; the first that matches counts.
var codes = []struct {
	kind error
	code int
}{
	{errUsage, exitUsage},
	{errUnsupported, exitUnsupported},
	{quantize.ErrRequantize, exitUsage},
	{quantize.ErrTarget, exitUsage},
	{quantize.ErrUnknownType, exitUsage},
	{quantize.ErrNoImportance, exitUsage},
	{quantize.ErrNoLayer, exitUsage},
	{gguf.ErrShard, exitUsage},
	{infer.ErrRequest, exitUsage},
	{quantize.ErrUnsupported, exitUnsupported},
	{convert.ErrUnsupported, exitUnsupported},
	{model.ErrUnsupported, exitUnsupported},
	{tokenizer.ErrUnsupported, exitUnsupported},
	{chat.ErrUnsupported, exitUnsupported},
	{adapt.ErrUnsupported, exitUnsupported},
	{errDiffers, exitMismatch},
	{adapt.ErrMismatch, exitMismatch},
	{adapt.ErrNoEffect, exitMismatch},
	{adapt.ErrNotFinite, exitMismatch},
	{gguf.ErrFormat, exitInvalid},
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
	{infer.ErrShort, exitInvalid},
	{sensitivity.ErrShort, exitInvalid},
	{loop.ErrCheckpoint, exitInvalid},
	{input.ErrNotRegular, exitInvalid},
	{input.ErrTooLarge, exitInvalid},
	{input.ErrCount, exitInvalid},
}

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

// usageError is a command line that makes no sense.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }
func (e *usageError) Unwrap() error { return errUsage }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Sprintf(format, args...)}
}

func unsupportedf(format string, args ...any) error {
	return &unsupportedError{fmt.Sprintf(format, args...)}
}

// unsupportedError is something valid that qtool does not do.
type unsupportedError struct{ text string }

func (e *unsupportedError) Error() string { return e.text }
func (e *unsupportedError) Unwrap() error { return errUnsupported }
