package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"qtool/fixtures"
)

func TestAnInterruptedImatrixIsContinuedToTheSameBytes(t *testing.T) {
	m := tinyFile(t, fixtures.Shape{Experts: 4})
	folder := t.TempDir()
	data, whole, broken := filepath.Join(folder, "text"), filepath.Join(folder, "whole.gguf"), filepath.Join(folder, "broken.gguf")
	var text strings.Builder
	for i := range 500 {
		fmt.Fprintf(&text, "%d is %x. ", i, i*i)
	}
	if err := os.WriteFile(data, []byte(text.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	args := []string{"imatrix", m, "--data", data, "-c", "16", "--save-every", "50", "-o"}
	if code := run(context.Background(), append(args, whole), nil, io.Discard, io.Discard); code != exitDone {
		t.Fatalf("exit code %d", code)
	}
	args = append(args, broken)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		for ctx.Err() == nil {
			if _, err := os.Stat(broken + ".progress"); err == nil {
				cancel()
			}
			time.Sleep(time.Millisecond)
		}
	}()
	var stderr bytes.Buffer
	if code := run(ctx, args, nil, io.Discard, &stderr); code != exitInterrupted || !strings.Contains(stderr.String(), "--resume") {
		t.Fatalf("exit code %d, %s", code, stderr.String())
	}
	if _, err := os.Stat(broken); err == nil {
		t.Fatal("an interrupted run left its output")
	}
	if code := run(context.Background(), append(args, "--resume"), nil, io.Discard, &stderr); code != exitDone {
		t.Fatalf("exit code %d, %s", code, stderr.String())
	}
	a, _ := os.ReadFile(whole)
	b, _ := os.ReadFile(broken)
	if !bytes.Equal(a, b) {
		t.Error("the bytes differ")
	}
	if _, err := os.Stat(broken + ".progress"); err == nil {
		t.Error("the progress was not removed")
	}
}
