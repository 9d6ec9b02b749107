package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"qtool/fixtures"
)

// interruptible is a command line without the file that it makes, which must come last.
type interruptible struct {
	args   []string
	resume string // the flag that goes on from what an earlier run has left; "" for none
	// leaves are the files beside the output, by what is added to its name, that an
	// interrupted run may leave, and kept those that a finished one leaves.
	leaves, kept []string
}

// interruptibles are the commands that take time, each with a job of some tenths of a second.
func interruptibles(t *testing.T) map[string]interruptible {
	source, _, _ := sizeableFile(t)
	model := tinyFile(t, fixtures.Shape{Experts: 4})
	data := filepath.Join(t.TempDir(), "text")
	var text strings.Builder
	for i := range 1200 {
		fmt.Fprintf(&text, "%d is %x. ", i, i*i)
	}
	if err := os.WriteFile(data, []byte(text.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	tune := finetuneArgs(t, "")
	return map[string]interruptible{
		"quantize": {args: []string{"quantize", "--type", "Q4_K_M", source}},
		"imatrix": {
			args:   []string{"imatrix", model, "--data", data, "-c", "16", "-o"},
			resume: "--resume", leaves: []string{".progress"},
		},
		"finetune": {args: tune[:len(tune)-1]},
		"finetune with a run directory": {
			args:   slices.Concat(tune[:1], []string{"--run-dir", "OUT.run"}, tune[1:len(tune)-1]),
			resume: "--resume", leaves: []string{".run"}, kept: []string{".run"},
		},
	}
}

// command is the process that writes out.
func (c *interruptible) command(out string, resuming bool) *exec.Cmd {
	args := append(slices.Clone(c.args), out)
	for i, a := range args {
		args[i] = strings.Replace(a, "OUT", out, 1)
	}
	if resuming && c.resume != "" {
		args = slices.Insert(args, 1, c.resume)
	}
	return exec.Command("qtool", args...)
}

// Whatever ends a command at whatever moment, what it leaves is nothing, the whole output,
// or what the next run goes on from, to the bytes of a run that was not disturbed.
func TestSoakCommandsAreKilledAtRandom(t *testing.T) {
	commands := interruptibles(t)
	whole, took := map[string][]byte{}, map[string]time.Duration{}
	for name, c := range commands {
		out := filepath.Join(t.TempDir(), "out.gguf")
		start := time.Now()
		if b, err := c.command(out, false).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, b)
		}
		took[name] = time.Since(start)
		var err error
		if whole[name], err = os.ReadFile(out); err != nil {
			t.Fatal(err)
		}
	}
	counts := map[string]int{}
	names := []string{"quantize", "imatrix", "finetune", "finetune with a run directory"}
	round := 0
	soak(t, len(names), func(t *testing.T, rng *rand.Rand) {
		name := names[round%len(names)]
		round++
		c := commands[name]
		c.killAgainAndAgain(t, rng, whole[name], took[name], counts)
		counts["finished "+name]++
	})
	t.Log(counts)
}

// killAgainAndAgain runs the command until it is allowed to end. Each time there must be
// no output, or the whole one.
func (c *interruptible) killAgainAndAgain(t *testing.T, rng *rand.Rand, whole []byte, took time.Duration, counts map[string]int) {
	dir := t.TempDir()
	out := filepath.Join(dir, "out.gguf")
	const mostKills = 5
	for attempt := range mostKills + 1 {
		cmd := c.command(out, attempt > 0)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		signal := endings[rng.IntN(len(endings))]
		if attempt < mostKills {
			wait := time.Duration(rng.Float64() * 1.1 * float64(took))
			timer := time.AfterFunc(wait, func() { cmd.Process.Signal(signal) })
			defer timer.Stop()
		}
		cmd.Wait()
		code := cmd.ProcessState.ExitCode()
		if code == exitDone {
			break
		}
		killed := code == -1 && (signal == os.Kill || stderr.Len() == 0) // before it could listen
		if attempt == mostKills || !killed && code != exitInterrupted {
			t.Fatalf("%v, %v: exit code %d\n%s", cmd.Args, signal, code, stderr.String())
		}
		counts[signal.String()]++
		if b, err := os.ReadFile(out); err == nil && !bytes.Equal(b, whole) {
			t.Errorf("%v left an output of %d bytes, which is not that of a run that was not disturbed", cmd.Args, len(b))
		}
		c.checkLeft(t, dir, killed, slices.Concat(c.leaves, []string{""}))
		if left := names(t, dir); c.resume != "" && len(left) > 0 {
			counts["resumed"]++
		}
	}
	c.checkLeft(t, dir, false, slices.Concat(c.kept, []string{""}))
	if b, err := os.ReadFile(out); err != nil || !bytes.Equal(b, whole) {
		t.Errorf("%v: the bytes are not those of a run that was not disturbed: %v", c.args, err)
	}
}

// checkLeft fails unless dir holds only files that may be there. A killed process leaves
// its temporary file too.
func (c *interruptible) checkLeft(t *testing.T, dir string, killed bool, allowed []string) {
	t.Helper()
	for _, name := range names(t, dir) {
		known := slices.ContainsFunc(allowed, func(more string) bool { return name == "out.gguf"+more })
		temporary := strings.HasPrefix(name, ".") && strings.HasSuffix(name, ".partial")
		if !known && !(killed && temporary) {
			t.Errorf("%v left %s behind", c.args, name)
		}
	}
}

// Several processes that write one file at the same time all end well, and the file is
// whole. imatrix saves no progress here: it would keep the others from the same output.
func TestSoakManyProcessesWriteOneFile(t *testing.T) {
	commands := interruptibles(t)
	jobs := []string{"quantize", "imatrix", "finetune"}
	imatrix := commands["imatrix"]
	imatrix.args = slices.Insert(imatrix.args, 1, "--save-every", "0")
	commands["imatrix"] = imatrix
	whole := map[string][]byte{}
	round := 0
	soak(t, len(jobs), func(t *testing.T, rng *rand.Rand) {
		name := jobs[round%len(jobs)]
		round++
		c := commands[name]
		dir := t.TempDir()
		out := filepath.Join(dir, "out.gguf")
		type ended struct {
			said []byte
			err  error
		}
		const writers = 6
		ends := make(chan ended, writers)
		for range writers {
			wait := time.Duration(rng.IntN(100)) * time.Millisecond
			go func() {
				time.Sleep(wait)
				b, err := c.command(out, false).CombinedOutput()
				ends <- ended{b, err}
			}()
		}
		for range writers {
			if e := <-ends; e.err != nil {
				t.Errorf("%s: %v\n%s", name, e.err, e.said)
			}
		}
		b, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		if whole[name] == nil {
			alone := filepath.Join(t.TempDir(), "out.gguf")
			if b, err := c.command(alone, false).CombinedOutput(); err != nil {
				t.Fatalf("%s: %v\n%s", name, err, b)
			}
			if whole[name], err = os.ReadFile(alone); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(b, whole[name]) {
			t.Errorf("%s: the file that %d processes wrote is none of theirs", name, writers)
		}
		c.checkLeft(t, dir, false, []string{""})
	})
}

// Two runs in one run directory would write each other's checkpoints.
func TestTheSecondRunInADirectoryIsRefusedAndTheFirstIsUnharmed(t *testing.T) {
	folder := t.TempDir()
	out, dir := filepath.Join(folder, "a.gguf"), filepath.Join(folder, "run")
	args := finetuneArgs(t, out)
	if code := run(context.Background(), args, strings.NewReader(""), io.Discard, io.Discard); code != exitDone {
		t.Fatalf("exit code %d", code)
	}
	alone, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	args = append(args, "--run-dir", dir, "--verbose")
	for _, more := range [][]string{nil, {"--resume"}} {
		// The first run stands before its first step until the second has been refused.
		var second bytes.Buffer
		code := -1
		first := &wordWatcher{word: "measuring the speed", found: func() {
			if code < 0 {
				cmd := exec.Command("qtool", append(slices.Clone(args), "--resume")...)
				cmd.Stderr = &second
				cmd.Run()
				code = cmd.ProcessState.ExitCode()
			}
		}}
		os.RemoveAll(dir)
		if code := run(context.Background(), append(slices.Clone(args), more...), strings.NewReader(""), io.Discard, first); code != exitDone {
			t.Errorf("the first run: exit code %d: %s", code, first.said.String())
		}
		if code != exitFailed && code != exitUsage || !strings.Contains(second.String(), dir) {
			t.Errorf("the second run: exit code %d: %s", code, second.String())
		}
		if b, err := os.ReadFile(out); err != nil || !bytes.Equal(b, alone) {
			t.Errorf("the first run ends with other bytes than alone: %v", err)
		}
	}
}
