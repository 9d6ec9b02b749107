//go:build amd64 || arm64

package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"qtool/fixtures"
	"qtool/internal/atomicfile"
)

// ended is how a process ended.
type ended struct {
	code           int // or the negative number of a signal
	stdout, stderr string
	traces         []string // contents
}

// runProcess runs a program with an empty folder for temporary files, under limits, which are arguments of
// the shell's ulimit, and with more environment. Signals are sent once it has written to stderr.
func runProcess(t *testing.T, limits string, env []string, signal syscall.Signal, args ...string) ended {
	t.Helper()
	temp := t.TempDir()
	script := `exec "$@"`
	if limits != "" {
		script = "ulimit " + limits + ` && exec "$@"`
	}
	var stdout bytes.Buffer
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	p := &process{Cmd: exec.Command("sh", append([]string{"-c", script, "sh"}, args...)...), t: t}
	p.Env, p.Dir, p.Stdout, p.Stderr = append(append(os.Environ(), "TMPDIR="+temp), env...), temp, &stdout, write
	err = p.Start()
	write.Close()
	if err != nil {
		t.Fatal(err)
	}
	var e ended
	begin := make([]byte, 1<<16)
	if signal != 0 {
		n, _ := read.Read(begin)
		e.stderr = string(begin[:n])
		p.send(signal)
	}
	p.stderr.ReadFrom(read)
	e.code = p.end()
	e.stdout, e.stderr = stdout.String(), e.stderr+p.stderr.String()
	for _, name := range names(t, temp) {
		b, err := os.ReadFile(filepath.Join(temp, name))
		if !strings.HasPrefix(name, "qtool-trace-") || err != nil {
			t.Errorf("left behind: %s, %v", name, err)
		}
		e.traces = append(e.traces, string(b))
	}
	return e
}

func TestAFatalErrorOfTheRuntimeIsALineATraceAndCode70(t *testing.T) {
	for _, c := range []struct{ how, limits, line string }{
		{"memory", "-d 300000", `qtool: out of memory.*; without this run the limit of private memory \(ulimit -d\) leaves .*; free memory.*; the trace is in "(.*)"`},
		{"much memory", "", `qtool: out of memory.*; without this run the machine has .* of memory available; free memory, .* smaller --seq.*; the trace is in "(.*)"`},
		{"stack", "", `qtool: internal error: stack overflow; please report it with the trace in "(.*)"`},
		{"mutex", "", `qtool: internal error: sync: unlock of unlocked mutex; please report it with the trace in "(.*)"`},
		{"goroutine", "", `qtool: internal error: panic: faulty goroutine; please report it with the trace in "(.*)"`},
	} {
		if mode, _ := os.ReadFile("/proc/sys/vm/overcommit_memory"); c.how == "much memory" && string(mode) == "1\n" {
			continue // the system promises it
		}
		e := runProcess(t, c.limits, nil, 0, "fatal", c.how)
		if e.code != exitInternal || !regexp.MustCompile(`^begins\n`+c.line+`\n$`).MatchString(e.stderr) {
			t.Errorf("%s ended with %d: %s", c.how, e.code, e.stderr)
		}
		if len(e.traces) != 1 {
			t.Fatalf("%s: %d traces", c.how, len(e.traces))
		}
		for _, part := range []string{"qtool devel", "command: [\"" + c.how + "\"]", "goroutine 1 ", "runIntoFatalError"} {
			if !strings.Contains(e.traces[0], part) {
				t.Errorf("%s: %q is missing in the trace:\n%s", c.how, part, e.traces[0])
			}
		}
	}
}

func TestARunThatIsRefusedMemoryWritesNothing(t *testing.T) {
	dir, text := t.TempDir(), filepath.Join(t.TempDir(), "text.txt")
	if err := os.WriteFile(text, bytes.Repeat([]byte("one two three four. "), 8000), 0o644); err != nil {
		t.Fatal(err)
	}
	// It takes gigabytes.
	e := runProcess(t, "-d 400000", nil, 0, "qtool", "finetune", "--quiet", "--data", text, "--adapter", filepath.Join(dir, "a.gguf"), "--seq", "256", "--batch", "512", "--steps", "1")
	said, _ := strings.CutSuffix(e.stderr, "\n")
	if e.code != exitInternal && e.code != exitFailed || strings.Contains(said, "\n") || !strings.Contains(said, "memory") {
		t.Errorf("ended with %d: %s", e.code, e.stderr)
	}
	for _, name := range names(t, dir) {
		if !strings.HasSuffix(name, atomicfile.Suffix) {
			t.Errorf("left behind: %s", name)
		}
	}
}

func TestAQuitSignalTellsWhereTheStacksAre(t *testing.T) {
	e := runProcess(t, "-c 0", nil, syscall.SIGQUIT, "fatal", "wait")
	if e.code != -int(syscall.SIGQUIT) || !regexp.MustCompile(`^begins\nqtool: ended by SIGQUIT; its stacks are in ".*"\n$`).MatchString(e.stderr) {
		t.Errorf("ended with %d: %s", e.code, e.stderr)
	}
	if len(e.traces) != 1 || !strings.Contains(e.traces[0], "runIntoFatalError") {
		t.Errorf("traces: %v", e.traces)
	}
}

func TestASignalToAbortEndsTheProcessAsOthers(t *testing.T) {
	e := runProcess(t, "-c 0", nil, syscall.SIGABRT, "fatal", "wait")
	if e.code != -int(syscall.SIGABRT) || e.stderr != "begins\n" || len(e.traces) > 0 {
		t.Errorf("ended with %d: %s, traces: %v", e.code, e.stderr, e.traces)
	}
}

func TestWhatIsWrittenPastTheProgramReachesStderr(t *testing.T) {
	if e := runProcess(t, "", nil, 0, "fatal", "stray"); e.code != exitDone || e.stderr != "begins\nwritten past the program\n" {
		t.Errorf("ended with %d: %s", e.code, e.stderr)
	}
}

func TestWhoAsksForACoreDumpGetsTheRuntimesOwnEnd(t *testing.T) {
	e := runProcess(t, "-c 0", []string{"GOTRACEBACK=crash"}, 0, "fatal", "mutex")
	if e.code != -int(syscall.SIGABRT) || !strings.Contains(e.stderr, "goroutine 1") || len(e.traces) > 0 {
		t.Errorf("ended with %d: %s", e.code, e.stderr)
	}
}

// GOTRACEBACK is a run without a watch.
func TestACommandIsTheSameUnderTheWatchAndUnderLimits(t *testing.T) {
	m := tinyFile(t, fixtures.Shape{})
	damaged := filepath.Join(t.TempDir(), "damaged.gguf")
	if err := os.WriteFile(damaged, []byte("GGUF is what it says"), 0o644); err != nil {
		t.Fatal(err)
	}
	for code, args := range map[int][]string{
		exitDone:    {"qtool", "generate", m, "--prompt", "a", "-n", "4", "--temperature", "0", "--quiet"},
		exitUsage:   {"qtool", "inspect", "--no-such-flag", m},
		exitInvalid: {"qtool", "inspect", damaged},
		exitFailed:  {"qtool", "inspect", m + ".none"},
	} {
		want := runProcess(t, "", []string{"GOTRACEBACK=crash"}, 0, args...)
		for _, limits := range []string{"", "-v 8000000"} {
			got := runProcess(t, limits, nil, 0, args...)
			if got.code != code || want.code != code || got.stdout != want.stdout || got.stderr != want.stderr || len(got.traces) > 0 {
				t.Errorf("%v, limits %q: %+v, without: %+v", args, limits, got, want)
			}
		}
	}
}
