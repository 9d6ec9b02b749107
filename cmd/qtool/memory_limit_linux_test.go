package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"qtool/fixtures"
	"qtool/internal/printable"
)

// limitedTo runs a command in a process of its own that can have so many bytes of private
// memory. (What a program has of address space differs from run to run by more than the
// tests below have to give.)
func limitedTo(t *testing.T, memory int64, args ...string) outcome {
	t.Helper()
	cmd := exec.Command("sh", append([]string{"-c", fmt.Sprintf(`ulimit -d %d; exec qtool "$@"`, memory>>10), "sh"}, args...)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return outcome{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

// memoryAtStart is about the private memory that the program has before it does anything:
// what its runtime takes, which differs from build to build.
func memoryAtStart(t *testing.T) int64 {
	t.Helper()
	// It waits for its input, and so can be looked at.
	cmd := exec.Command("qtool", "generate", "none", "--prompt", "-")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer stdin.Close()
	size := regexp.MustCompile(`VmData:\s+(\d+) kB`)
	for last, same := "", 0; ; {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		m := size.FindSubmatch(status)
		if m == nil {
			t.Fatalf("no size in %q", status)
		}
		if same++; string(m[1]) != last {
			last, same = string(m[1]), 0
		}
		if same == 200 { // it has come to rest
			n, _ := strconv.ParseInt(last, 10, 64)
			return n << 10
		}
	}
}

// suggestion is what a refusal says that would fit: its flags.
func suggestion(t *testing.T, o outcome) []string {
	t.Helper()
	m := regexp.MustCompile(`; with (--.*) it fits \([0-9.]+ [KMG]iB\); --force starts it all the same`).FindStringSubmatch(o.first())
	if o.code != exitFailed || m == nil {
		t.Fatalf("exit code %d: %s", o.code, o.stderr)
	}
	return strings.Fields(m[1])
}

// difference is by how much the memory that the runtime takes for itself differs from run to
// run on a busy machine.
const difference = 64 << 20

// limited is the work of the tests below: a command, and how much memory it gets
// beside what the program starts with, which is too little.
var limited = map[string]struct {
	args  string
	extra int64
}{
	"batch":      {"finetune --model M --data T --seq 64 --steps 1 --batch 128 --adapter OUT", 320 << 20},
	"sequence":   {"finetune --model M --data T --seq 4096 --steps 1 --eval-split 0 --adapter OUT", 240 << 20},
	"rank":       {"finetune --model M --data T --seq 64 --steps 1 --rank 256 --eval-split 0 --adapter OUT", 140 << 20},
	"perplexity": {"perplexity M --data T --context 32768 --chunks 1", 140 << 20},
	"baseline":   {"perplexity M --baseline M --data T --context 16384 --chunks 1", 140 << 20},
	"imatrix":    {"imatrix M --data T --chunk-size 32768 --chunks 1 --legacy -o OUT", 140 << 20},
}

func limitedFiles(t *testing.T) func(args string) []string {
	t.Helper()
	model := tinyFile(t, fixtures.Shape{Dim: 256, FF: 512, Layers: 4, Context: 32768})
	dir := t.TempDir()
	text := filepath.Join(dir, "text.txt")
	if err := os.WriteFile(text, bytes.Repeat([]byte("one two three four. "), 4000), 0o644); err != nil {
		t.Fatal(err)
	}
	return func(args string) []string {
		out := strings.Fields(args)
		for i, arg := range out {
			if with, ok := map[string]string{"M": model, "T": text, "OUT": filepath.Join(dir, "out.gguf")}[arg]; ok {
				out[i] = with
			}
		}
		return out
	}
}

func TestWhatDoesNotFitIsRefusedAndWhatIsSuggestedRuns(t *testing.T) {
	files, start := limitedFiles(t), memoryAtStart(t)
	for name, c := range limited {
		t.Run(name, func(t *testing.T) {
			args := files(c.args)
			o := limitedTo(t, start+c.extra, args...)
			flags := suggestion(t, o)
			t.Log(o.first())
			if !strings.Contains(o.first(), "of memory, and the limit of private memory (ulimit -d) leaves ") {
				t.Errorf("the limit is not told: %s", o.first())
			}
			out := filepath.Join(filepath.Dir(args[len(args)-1]), "out.gguf")
			if _, err := os.Stat(out); err == nil {
				t.Error("it left a file")
			}
			if o := limitedTo(t, start+c.extra+difference, withFlags(args, flags)...); o.code != exitDone {
				t.Errorf("with %s: exit code %d: %s", strings.Join(flags, " "), o.code, firstLines(o.stderr, 12))
			}
			os.Remove(out)
		})
	}
}

// withFlags puts flags in the place of those of the same names.
func withFlags(args, flags []string) []string {
	var kept []string
	for i := 0; i < len(args); i++ {
		if strings.HasPrefix(args[i], "--") && strings.Contains(strings.Join(flags, " ")+" ", args[i]+" ") {
			i++
			continue
		}
		kept = append(kept, args[i])
	}
	return append(kept, flags...)
}

func firstLines(s string, n int) string {
	lines := strings.SplitAfter(s, "\n")
	return strings.Join(lines[:min(n, len(lines))], "")
}

// The estimate is not below what a run takes: what is not refused does not run out of
// memory, wherever the limit is.
func TestWhatIsStartedDoesNotRunOutOfMemory(t *testing.T) {
	files, start := limitedFiles(t), memoryAtStart(t)
	for name, args := range map[string]string{
		"finetune":    "finetune --model M --data T --seq 64 --steps 1 --batch 24 --sample one --adapter OUT",
		"full":        "finetune --model M --data T --seq 64 --steps 1 --full OUT",
		"perplexity":  "perplexity M --data T --context 2048 --chunks 1",
		"calibration": "quantize --target-bpw 6 --calibration T --calibration-tokens 256 M OUT",
		"imatrix":     "imatrix M --data T --chunk-size 2048 --chunks 2 -o OUT",
	} {
		t.Run(name, func(t *testing.T) {
			args := append(files(args), "--quiet")
			done := false
			for extra := int64(130 << 20); !done; extra += 64 << 20 {
				o := limitedTo(t, start+extra, args...)
				switch done = o.code == exitDone; {
				case !done && o.code != exitFailed:
					t.Fatalf("with %s: exit code %d: %s", printable.Bytes(extra), o.code, firstLines(o.stderr, 12))
				case extra > 4<<30:
					t.Fatalf("it is refused with %s: %s", printable.Bytes(extra), o.stderr)
				case done:
					t.Logf("it runs with %s", printable.Bytes(extra))
				}
			}
		})
	}
}

func TestForceStartsWhatDoesNotFitAndSaysSoOnce(t *testing.T) {
	files, start := limitedFiles(t), memoryAtStart(t)
	const extra = 200 << 20
	args := append(files("finetune --model M --data T --seq 64 --steps 1 --batch 96 --adapter OUT"), "--force")
	o := limitedTo(t, start+extra, args...)
	if n := strings.Count(o.stderr, "; started all the same\n"); n != 1 || o.code == exitFailed { // it may run out of memory
		t.Errorf("exit code %d, %d warnings: %s", o.code, n, firstLines(o.stderr, 12))
	}
	// What the user allows is less than what there is: the run goes on to its end.
	out := filepath.Join(t.TempDir(), "a.gguf")
	o = end(strings.Join(files("finetune --model M --data T --seq 32 --steps 1 --batch 4 --max-resident 4M --force --adapter "+out), " "))
	if n := strings.Count(o.stderr, "; started all the same\n"); o.code != exitDone || n != 1 {
		t.Errorf("exit code %d, %d warnings: %s", o.code, n, o.stderr)
	}
	if _, err := os.Stat(out); err != nil {
		t.Error(err)
	}
}

func TestAGenerationThatWouldNotFitIsTold(t *testing.T) {
	files, start := limitedFiles(t), memoryAtStart(t)
	const extra = 150 << 20
	o := limitedTo(t, start+extra, files("generate M --prompt one --max-tokens -1")...)
	flags := suggestion(t, o)
	tokens, err := strconv.Atoi(flags[1])
	if err != nil || flags[0] != "--max-tokens" || tokens < 100 {
		t.Fatalf("%q is suggested", flags)
	}
	if o := limitedTo(t, start+extra, files(fmt.Sprintf("generate M --prompt one --max-tokens %d", 2*tokens))...); o.code != exitFailed {
		t.Errorf("exit code %d for twice as many tokens: %s", o.code, firstLines(o.stderr, 12))
	}
}
