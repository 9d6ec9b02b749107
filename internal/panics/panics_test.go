package panics

import (
	"errors"
	"io"
	"strings"
	"testing"
)

func caught(f func()) (p *Panic) {
	defer func() { p = Of(recover()) }()
	f()
	return nil
}

func deep() { panic(io.ErrUnexpectedEOF) }

func TestAPanicKeepsItsValueAndTheStackOfWhereItHappened(t *testing.T) {
	first := caught(deep)
	if !errors.Is(first, io.ErrUnexpectedEOF) || first.Error() != "unexpected EOF" || !strings.Contains(string(first.Stack), "panics.deep") {
		t.Errorf("%v\n%s", first, first.Stack)
	}
	again := caught(func() { panic(first) })
	if again != first {
		t.Errorf("raised again it is another: %v", again)
	}
	if text := caught(func() { panic("a text") }); text.Error() != "a text" || text.Unwrap() != nil {
		t.Error(text)
	}
}
