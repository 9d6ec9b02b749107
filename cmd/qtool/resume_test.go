package main

import (
	"bufio"
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
)

// finetuneArgs are those of a run of 40 steps.
func finetuneArgs(t *testing.T, adapter string) []string { return stepArgs(t, adapter, "40") }

// stepArgs are those of a run of some steps.
func stepArgs(t *testing.T, adapter, steps string, more ...string) []string {
	t.Helper()
	data := filepath.Join(t.TempDir(), "data.txt")
	if err := os.WriteFile(data, []byte(strings.Repeat("All work and no play. ", 40)), 0o666); err != nil {
		t.Fatal(err)
	}
	return append([]string{"finetune", "--model", tinyFile(t, fixtures.Shape{Dim: 64, FF: 128}), "--data", data,
		"--seq", "48", "--steps", steps, "--lr", "1e-2", "--save-every", "3", "--adapter", adapter}, more...)
}

func TestARunKilledAgainAndAgainEndsWithTheSameBytes(t *testing.T) {
	folder := t.TempDir()
	whole, broken := filepath.Join(folder, "whole.gguf"), filepath.Join(folder, "broken.gguf")
	args := finetuneArgs(t, whole)
	if code := run(context.Background(), args, strings.NewReader(""), io.Discard, io.Discard); code != exitDone {
		t.Fatalf("exit code %d", code)
	}
	args[len(args)-1] = broken
	args = append(args, "--run-dir", filepath.Join(folder, "run"), "--resume")
	kills := 0
	for wait := 30 * time.Millisecond; ; wait += 15 * time.Millisecond {
		cmd := exec.Command("qtool", args...)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		timer := time.AfterFunc(wait, func() { cmd.Process.Kill() })
		err := cmd.Wait()
		if timer.Stop(); err == nil {
			break
		}
		if cmd.ProcessState.Exited() {
			t.Fatalf("%v\n%s", err, stderr.String())
		}
		if kills++; kills > 500 {
			t.Fatal("the run never ends")
		}
	}
	a, errA := os.ReadFile(whole)
	b, errB := os.ReadFile(broken)
	if errA != nil || errB != nil {
		t.Fatal(errA, errB)
	}
	if !bytes.Equal(a, b) {
		t.Errorf("after %d kills the adapter is another", kills)
	}
	t.Logf("killed %d times", kills)
}

func TestAnInterruptedFinetuneLeavesWhatItShould(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no signal can be sent to a process on Windows")
	}
	folder := t.TempDir()
	adapter, runDir := filepath.Join(folder, "a.gguf"), filepath.Join(folder, "run")
	interrupt := func(more ...string) string {
		cmd := exec.Command("qtool", stepArgs(t, adapter, "100000", more...)...)
		stderr, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var said strings.Builder
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			said.WriteString(lines.Text() + "\n")
			if strings.HasPrefix(lines.Text(), "training:") {
				cmd.Process.Signal(os.Interrupt)
			}
		}
		cmd.Wait()
		if code := cmd.ProcessState.ExitCode(); code != exitInterrupted {
			t.Errorf("exit code %d\n%s", code, said.String())
		}
		return said.String()
	}
	interrupt()
	if files, _ := os.ReadDir(folder); len(files) != 0 {
		t.Errorf("left behind: %v", files)
	}
	if said := interrupt("--run-dir", runDir); !strings.Contains(said, "--resume goes on from here") {
		t.Errorf("it does not say how to go on:\n%s", said)
	}
	for _, f := range []string{"checkpoint.gguf", "metrics.jsonl"} {
		if _, err := os.Stat(filepath.Join(runDir, f)); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(adapter); err == nil {
		t.Error("an adapter was written")
	}
}
