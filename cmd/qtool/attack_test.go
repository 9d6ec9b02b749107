package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"qtool/gguf"
	"qtool/internal/sharedtest"
)

// scene is a folder of inputs, which somebody may have tampered with, and an empty
// folder for outputs. [scene.run] runs a command between them.
type scene struct {
	t       testing.TB
	in, out string
	inputs  map[string][]byte // by their paths below in
}

func newScene(t testing.TB) *scene {
	dir := t.TempDir()
	s := &scene{t, filepath.Join(dir, "in"), filepath.Join(dir, "out"), map[string][]byte{}}
	for _, d := range []string{s.in, s.out} {
		if err := os.Mkdir(d, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// put makes an input. Its name may have folders in it.
func (s *scene) put(name string, b []byte) {
	s.inputs[name] = b
	s.place(s.in, name, b)
}

// leave puts a file among the outputs, as an earlier run would have.
func (s *scene) leave(name string, b []byte) { s.place(s.out, name, b) }

func (s *scene) place(dir, name string, b []byte) {
	s.t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o666); err != nil {
		s.t.Fatal(err)
	}
}

// args are the words of a command line. In it IN/ and OUT/ stand for the folders.
func (s *scene) args(line string) []string {
	args := strings.Fields(line)
	for i, a := range args {
		args[i] = strings.NewReplacer("IN/", s.in+"/", "OUT/", s.out+"/").Replace(a)
	}
	return args
}

// The bounds of one command. Most of what a command takes is there for every input;
// what a plan takes is the measurement of this machine.
const (
	patience      = time.Minute // of a core
	memoryAlways  = 64 << 20
	memoryOfPlans = 1 << 30
	memoryPerByte = 64
)

// run runs one command line in this process, and fails the test unless the command ends
// in good order, whatever its inputs are. It returns the exit code.
func (s *scene) run(line string) int {
	s.t.Helper()
	args := s.args(line)
	before := names(s.t, s.out)
	bound := s.memory(line)
	ctx, cancel := context.WithCancel(context.Background())
	defer watch(line, bound, cancel)()
	var stdout, stderr bytes.Buffer
	allocated := allocatedBytes()
	code := run(ctx, args, strings.NewReader(""), &stdout, &stderr)
	allocated = allocatedBytes() - allocated

	fail := func(format string, a ...any) {
		s.t.Helper()
		s.t.Errorf("qtool %s: exit code %d: %s\nstderr: %.2000q", line, code, fmt.Sprintf(format, a...), stderr.String())
	}
	// Nothing fails here but for what is in the inputs, except where weights are sound and
	// what is computed of them is not.
	diverged := code == exitFailed && args[0] == "finetune" && notFinite.MatchString(stderr.String())
	if !diverged && !slices.Contains([]int{exitDone, exitUsage, exitInvalid, exitUnsupported, exitMismatch}, code) {
		fail("no input may have this exit code")
	}
	if ctx.Err() != nil {
		fail("not done after %v of a core", patience)
	}
	if allocated > bound {
		fail("%d MiB were allocated, at most %d expected", allocated>>20, bound>>20)
	}
	if code != exitDone && stderr.Len() == 0 && code != exitMismatch {
		fail("it says nothing")
	}
	printed := stderr.String()
	if args[0] != "generate" && args[0] != "chat" { // which print what the model says
		printed += stdout.String()
	}
	if r, raw := rawControl(printed); raw {
		fail("%U reaches the terminal: %.2000q", r, printed)
	}
	s.checkFiles(code, before, fail)
	return code
}

// watch ends the command that runs until stop is called if it computes for too long, and
// the process, before the system does it to another one, if the command does not end then
// or takes all memory. The stacks tell where it was.
func watch(line string, bound uint64, end func()) (stop func()) {
	done := make(chan struct{})
	begin, start := sharedtest.CPUTime(), allocatedBytes()
	go func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				took := sharedtest.CPUTime() - begin
				if took > patience {
					end()
				}
				if took > 4*patience || allocatedBytes()-start > 8*bound {
					debug.SetTraceback("all")
					panic(fmt.Sprintf("qtool %s: hangs, or takes memory without end: %d MiB were allocated", line, (allocatedBytes()-start)>>20))
				}
			}
		}
	}()
	return func() {
		close(done)
		end()
	}
}

// memory is how much a command may allocate, in proportion to its inputs.
func (s *scene) memory(line string) uint64 {
	bound := uint64(memoryAlways)
	if strings.Contains(line, "--plan-only") {
		bound = memoryOfPlans
	}
	for _, b := range s.inputs {
		bound += memoryPerByte * uint64(len(b))
	}
	return bound
}

// checkFiles fails unless the inputs are what they were, and the outputs are as before,
// or after a success whole.
func (s *scene) checkFiles(code int, before []string, fail func(string, ...any)) {
	s.t.Helper()
	for name, b := range s.inputs {
		if now, err := os.ReadFile(filepath.Join(s.in, name)); err != nil || !bytes.Equal(now, b) {
			fail("the input %s was changed: %v", name, err)
		}
	}
	after := names(s.t, s.out)
	if code != exitDone && !slices.Equal(before, after) {
		fail("it leaves %q, before it were %q", after, before)
	}
	for _, name := range after {
		path := filepath.Join(s.out, name)
		switch {
		case strings.HasPrefix(name, "."):
			fail("it leaves %s", name)
		case code == exitDone && filepath.Ext(name) == ".gguf" && !laterShard.MatchString(name):
			f, err := gguf.Open(path)
			if err != nil {
				fail("it wrote a file that cannot be read: %v", err)
				continue
			}
			f.Close()
		}
	}
}

// notFinite tells that training could not go on, in a last line.
var notFinite = regexp.MustCompile(`\nqtool: (training diverged|the loss on the held-out data is (NaN|[+-]Inf))[^\n]*\n$`)

// laterShard is the name of a shard that is opened with the first one.
var laterShard = regexp.MustCompile(`-0*([2-9]|[1-9]\d+)-of-\d+\.gguf$`)

// rawControl finds a control character that a terminal would obey.
func rawControl(s string) (rune, bool) {
	for _, r := range s {
		if r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)) {
			return r, true
		}
	}
	return 0, false
}

// allocatedBytes counts all that was ever allocated.
func allocatedBytes() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

// encoded is a model as a file.
func encoded(m gguf.Model) []byte {
	var b bytes.Buffer
	if err := gguf.Write(context.Background(), &b, m); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// produced is what a command writes to OUT/result in a scene with the inputs that
// prepare makes; folders come as all their files.
func produced(t testing.TB, line string, prepare func(*scene)) map[string][]byte {
	t.Helper()
	s := newScene(t)
	prepare(s)
	if code := s.run(line); code != exitDone {
		t.Fatalf("qtool %s: exit code %d", line, code)
	}
	return filesIn(t, s.out)
}

// filesIn reads all files below dir.
func filesIn(t testing.TB, dir string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		files[filepath.ToSlash(name)], err = os.ReadFile(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
