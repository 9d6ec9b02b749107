//go:build unix

package main

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"qtool/fixtures"
	"qtool/gguf"
	"qtool/internal/atomicfile"
)

// process is the program at work.
type process struct {
	*exec.Cmd
	t      *testing.T
	stderr bytes.Buffer
}

// start starts the program with stderr in p.stderr, unless prepare connects it otherwise.
func start(t *testing.T, prepare func(*exec.Cmd), args ...string) *process {
	t.Helper()
	p := &process{Cmd: exec.Command("qtool", args...), t: t}
	p.Stderr = &p.stderr
	if prepare != nil {
		prepare(p.Cmd)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Process.Kill() })
	return p
}

// end waits for the process and returns its exit code, or the negative number of the
// signal that it died of.
func (p *process) end() int {
	p.t.Helper()
	late := time.AfterFunc(time.Minute, func() {
		p.t.Error("the process does not end")
		p.Process.Kill()
	})
	defer late.Stop()
	p.Wait()
	status := p.ProcessState.Sys().(syscall.WaitStatus)
	if status.Signaled() {
		return -int(status.Signal())
	}
	return status.ExitStatus()
}

func (p *process) send(s os.Signal) {
	p.t.Helper()
	if err := p.Process.Signal(s); err != nil {
		p.t.Error(err)
	}
}

// await waits until something is true.
func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// longTraining are the arguments of a run that has not ended when it is stopped, and its
// directory.
func longTraining(t *testing.T) (args []string, runDir string) {
	dir := t.TempDir()
	runDir = filepath.Join(dir, "run")
	return []string{"finetune", "--adapter", filepath.Join(dir, "a.gguf"), "--run-dir", runDir, "--epochs", "100000", "--save-every", "0"}, runDir
}

// steps is how many steps metrics.jsonl tells of.
func steps(runDir string) int {
	b, _ := os.ReadFile(filepath.Join(runDir, "metrics.jsonl"))
	return bytes.Count(b, []byte(`"step"`))
}

func hasCheckpoint(runDir string) bool {
	f, err := gguf.Open(filepath.Join(runDir, "checkpoint.gguf"))
	if err == nil {
		f.Close()
	}
	return err == nil
}

func TestEverySignalToEndLeavesACheckpoint(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		if signal.Ignored(s) { // the tests run under nohup
			continue
		}
		args, runDir := longTraining(t)
		p := start(t, nil, args...)
		await(t, "a step", func() bool { return steps(runDir) > 1 })
		p.send(s)
		if s == syscall.SIGHUP { // as shells and systemd do
			p.send(s)
		}
		if code := p.end(); code != exitInterrupted || !hasCheckpoint(runDir) {
			t.Errorf("%v: ended with %d, checkpoint: %v\n%s", s, code, hasCheckpoint(runDir), p.stderr.String())
		}
	}
}

func TestAHangupThatIsIgnoredAtTheStartStaysIgnored(t *testing.T) {
	signal.Ignore(syscall.SIGHUP) // passes on to processes, as nohup does
	defer signal.Reset(syscall.SIGHUP)
	args, runDir := longTraining(t)
	p := start(t, nil, args...)
	await(t, "a step", func() bool { return steps(runDir) > 1 })
	p.send(syscall.SIGHUP)
	before := steps(runDir)
	await(t, "more steps", func() bool { return steps(runDir) > before+1 })
	p.send(syscall.SIGTERM)
	if code := p.end(); code != exitInterrupted {
		t.Errorf("ended with %d", code)
	}
}

func TestTrainingWhoseStderrIsLostLeavesACheckpoint(t *testing.T) {
	args, runDir := longTraining(t)
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, func(c *exec.Cmd) { c.Stderr = write }, args...)
	write.Close()
	await(t, "a step", func() bool { return steps(runDir) > 1 })
	read.Close()
	if code := p.end(); code != exitInterrupted || !hasCheckpoint(runDir) {
		t.Errorf("ended with %d, checkpoint: %v", code, hasCheckpoint(runDir))
	}
}

func TestAProgramWhoseStdoutIsLostTidiesUpAndDiesOfIt(t *testing.T) {
	m := tinyFile(t, fixtures.Shape{Context: 1 << 20})
	for _, args := range [][]string{
		{"generate", m, "--prompt", "a", "-n", "-1", "--ignore-eos"},
		{"inspect", m},
		{"tokenize", m, strings.Repeat("a long text ", 5000)},
		{"help"},
	} {
		read, write, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		p := start(t, func(c *exec.Cmd) { c.Stdout = write }, args...)
		write.Close()
		if args[0] == "generate" {
			bufio.NewReaderSize(read, 16).ReadByte()
		}
		read.Close()
		if code := p.end(); code != -int(syscall.SIGPIPE) || p.stderr.Len() > 0 {
			t.Errorf("%s ended with %d: %s", args[0], code, p.stderr.String())
		}
	}
}

func TestASecondSignalEndsTheProcessAtOnceAndFilesAreWhole(t *testing.T) {
	source, _, _ := sizeableFile(t)
	old := []byte("an old file")
	for range 8 {
		out := filepath.Join(t.TempDir(), "m.gguf")
		if err := os.WriteFile(out, old, 0o644); err != nil {
			t.Fatal(err)
		}
		p := start(t, nil, "quantize", "--type", "IQ3_S", "--threads", "1", source, out)
		await(t, "the file to be begun", func() bool { return len(names(t, filepath.Dir(out))) > 1 })
		p.send(syscall.SIGTERM)
		p.send(syscall.SIGINT)
		if code := p.end(); code != exitInterrupted {
			t.Errorf("ended with %d: %s", code, p.stderr.String())
		}
		if got, err := os.ReadFile(out); err != nil || !bytes.Equal(got, old) {
			t.Errorf("found %d bytes, %v", len(got), err)
		}
		for _, name := range names(t, filepath.Dir(out)) {
			if name != "m.gguf" && !strings.HasSuffix(name, atomicfile.Suffix) {
				t.Errorf("%s could be taken for a model", name)
			}
		}
	}
}

// A file that another program cuts is an error that names it, whoever reads it.
func TestAModelThatIsCutWhileItIsUsedIsAnErrorThatNamesIt(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text.txt")
	if err := os.WriteFile(text, bytes.Repeat([]byte("one two three four. "), 4000), 0o644); err != nil {
		t.Fatal(err)
	}
	shape := fixtures.Shape{Layers: 4, Dim: 256, Heads: 4, KVHeads: 2, FF: 2048}
	for _, args := range [][]string{
		{"perplexity", "MODEL", "--data", text, "--context", "64"},
		{"generate", "MODEL", "--prompt", "a", "-n", "-1", "--ignore-eos"},
		{"imatrix", "MODEL", "--data", text, "-o", filepath.Join(dir, "imatrix.gguf"), "-c", "64", "--save-every", "0"},
		{"finetune", "--model", "MODEL", "--data", text, "--adapter", filepath.Join(dir, "a.gguf"), "--epochs", "100", "--seq", "64"},
		{"quantize", "--type", "IQ3_S", "--threads", "2", "MODEL", filepath.Join(dir, "q.gguf")},
		{"verify", "MODEL"},
	} {
		for round := range 3 {
			model := tinyFile(t, shape)
			p := start(t, nil, strings.Split(strings.ReplaceAll(strings.Join(args, "\x00"), "MODEL", model), "\x00")...)
			time.Sleep(time.Duration(100*(round+1)) * time.Millisecond)
			if err := os.Truncate(model, 40_000); err != nil {
				t.Fatal(err)
			}
			code, said := p.end(), p.stderr.String()
			if code == exitDone || code == exitInvalid && strings.Contains(said, model+": invalid GGUF") {
				for _, out := range []string{"imatrix.gguf", "a.gguf", "q.gguf"} {
					os.Remove(filepath.Join(dir, out))
				}
				continue // it was faster, or had not opened the file
			}
			if code != exitFailed || !strings.Contains(said, model) || strings.Contains(said, "goroutine") || strings.Contains(said, "internal error") {
				t.Errorf("%s ended with %d: %s", args[0], code, said)
			}
		}
	}
	if n := names(t, dir); len(n) != 1 {
		t.Errorf("left behind: %v", n)
	}
}
