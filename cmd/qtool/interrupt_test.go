package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"qtool/fixtures"
	"qtool/gguf"
)

// tinyFile writes a tiny model into a folder of its own.
func tinyFile(t *testing.T, s fixtures.Shape) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "m.gguf")
	if err := gguf.WriteFile(context.Background(), path, tiny(s)); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestInterruptedCommandsLeaveNothingAndExitWith130(t *testing.T) {
	m := tinyFile(t, fixtures.Shape{})
	out, adapter := filepath.Join(filepath.Dir(m), "out"), filepath.Join(t.TempDir(), "a.gguf")
	writeTinyAdapter(t, tiny(fixtures.Shape{}), adapter)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for _, args := range [][]string{
		{"quantize", m, out},
		{"lora", "merge", "--model", m, adapter, out},
		{"lora", "verify", "--model", m, adapter},
		{"lora", "inspect", adapter},
		{"lora", "convert", "--base", m, adapter, out},
		{"lora", "extract", "--base", m, "--tuned", m, "--rank", "1", out},
		{"lora", "resize", "--rank", "1", adapter, out},
		{"lora", "combine", adapter, adapter, out},
		{"logits", m, "--tokens", "1,2,3", "-o", out},
		{"generate", m, "--prompt", "a"},
		{"perplexity", m, "--data", m, "--context", "16"},
		{"imatrix", m, "--data", m, "-c", "16", "-o", out},
	} {
		var stdout, stderr bytes.Buffer
		if code := run(ctx, args, strings.NewReader(""), &stdout, &stderr); code != exitInterrupted {
			t.Errorf("%s: exit code %d", args[0], code)
		}
		if !strings.HasSuffix(stderr.String(), "qtool: interrupted\n") {
			t.Errorf("%s: stderr is %q", args[0], stderr.String())
		}
	}
	if files, _ := os.ReadDir(filepath.Dir(m)); len(files) != 1 {
		t.Errorf("left behind: %v", files)
	}
}

func TestWaitingForStandardInputCanBeInterrupted(t *testing.T) {
	m, out := tinyFile(t, fixtures.Shape{}), filepath.Join(t.TempDir(), "a.gguf")
	for _, args := range [][]string{
		{"tokenize", m},
		{"chat", m},
		{"data", "check", "--model", m, "--data", "-"},
		{"finetune", "--model", m, "--data", "-", "--adapter", out},
	} {
		ctx, cancel := context.WithCancel(context.Background())
		stdin, never := io.Pipe()
		code := make(chan int)
		go func() { code <- run(ctx, args, stdin, io.Discard, io.Discard) }()
		time.AfterFunc(100*time.Millisecond, cancel) // the reading may have begun
		if got := <-code; got != exitInterrupted {
			t.Errorf("%q: exit code %d", args, got)
		}
		never.Close()
	}
}

func TestSignalEndsTheProcessInGoodOrder(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no signal can be sent to a process on Windows")
	}
	m := tinyFile(t, fixtures.Shape{Context: 1 << 20})
	cmd := exec.Command("qtool", "generate", m, "--prompt", "a", "-n", "-1", "--ignore-eos")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := stdout.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	cmd.Process.Signal(os.Interrupt)
	io.Copy(io.Discard, stdout)
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != exitInterrupted || stderr.String() != "qtool: interrupted\n" {
		t.Errorf("exit code %d, stderr %q", code, stderr.String())
	}
}
