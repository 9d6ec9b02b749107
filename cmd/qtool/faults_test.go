package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"qtool/fixtures"
	"qtool/gguf"
	"qtool/internal/atomicfile"
	"qtool/internal/atomicfile/faulty"
)

// writer is a command that writes to a folder of its own.
type writer struct {
	args    func(dir string) []string
	targets []string // files that the command promises, by path in the folder
	old     bool     // the folder holds other files of these names before
	set     bool     // the targets are one model; without the first of them there is none
	runDir  string   // a folder; what fails in it may be a warning
	every   int      // of its calls one in so many is tried, where most are those of another command; 0: all
}

// writers are the commands that write files, each as short a run as has all that they write.
func writers(t *testing.T) map[string]writer {
	t.Helper()
	inputs := t.TempDir()
	m, split, data := filepath.Join(inputs, "m.gguf"), filepath.Join(inputs, "split.gguf"), filepath.Join(inputs, "text")
	if err := gguf.WriteFile(context.Background(), m, tiny(fixtures.Shape{})); err != nil {
		t.Fatal(err)
	}
	if err := gguf.WriteFile(context.Background(), split, tiny(fixtures.Shape{}), gguf.WithSplitTensors(9)); err != nil {
		t.Fatal(err)
	}
	adapter := filepath.Join(inputs, "a.gguf")
	writeTinyAdapter(t, tiny(fixtures.Shape{}), adapter)
	tuned := filepath.Join(inputs, "tuned.gguf")
	qtool(t, "lora", "merge", "--model", m, adapter, tuned)
	if err := os.WriteFile(data, []byte(strings.Repeat("All work and no play. ", 12)), 0o644); err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(inputs, "mlx")
	qtool(t, "lora", "convert", "--base", m, "--to", "mlx", adapter, folder)
	t.Setenv("OLLAMA_MODELS", "") // to what it was, at the end
	shards := []string{"m-00001-of-00003.gguf", "m-00002-of-00003.gguf", "m-00003-of-00003.gguf"}
	finetune := []string{"finetune", "--model", m, "--data", data, "--seq", "48", "--steps", "2", "--save-every", "1",
		"--eval-every", "2", "--threads", "1", "--resume"}
	return map[string]writer{
		"quantize": {
			args: func(dir string) []string {
				return []string{"quantize", "--type", "Q4_0", m, filepath.Join(dir, "m.gguf")}
			},
			targets: []string{"m.gguf"}, old: true,
		},
		"quantize to shards": {
			args: func(dir string) []string {
				return []string{"quantize", "--type", "Q8_0", "--split-max-size", "10K", m, filepath.Join(dir, "m.gguf")}
			},
			targets: shards, set: true,
		},
		"split": {
			args: func(dir string) []string {
				return []string{"split", "--max-tensors", "9", m, filepath.Join(dir, "m.gguf")}
			},
			targets: shards, old: true, set: true,
		},
		"join": {
			args: func(dir string) []string {
				return []string{"join", filepath.Join(inputs, "split-00001-of-00003.gguf"), filepath.Join(dir, "m.gguf")}
			},
			targets: []string{"m.gguf"},
		},
		"lora merge": {
			args: func(dir string) []string {
				return []string{"lora", "merge", "--model", m, "--type", "Q4_0", "--keep", "0.9", adapter, filepath.Join(dir, "m.gguf")}
			},
			targets: []string{"m.gguf"}, old: true,
		},
		"lora convert": {
			args: func(dir string) []string {
				return []string{"lora", "convert", "--base", m, folder, filepath.Join(dir, "a.gguf")}
			},
			targets: []string{"a.gguf"}, old: true,
		},
		"lora convert to a folder": {
			args: func(dir string) []string {
				out := filepath.Join(dir, "peft")
				os.RemoveAll(out) // which must be new
				return []string{"lora", "convert", "--base", m, adapter, out}
			},
			targets: []string{filepath.Join("peft", "adapter_config.json"), filepath.Join("peft", "adapter_model.safetensors")}, set: true,
		},
		"lora extract": {
			args: func(dir string) []string {
				return []string{"lora", "extract", "--base", m, "--tuned", tuned, "--rank", "1", "--targets", "attn_q", filepath.Join(dir, "x.gguf")}
			},
			targets: []string{"x.gguf"}, old: true,
		},
		"lora resize": {
			args: func(dir string) []string {
				return []string{"lora", "resize", "--rank", "1", adapter, filepath.Join(dir, "r.gguf")}
			},
			targets: []string{"r.gguf"}, old: true,
		},
		"lora combine": {
			args: func(dir string) []string {
				return []string{"lora", "combine", "--method", "ties", adapter, adapter, filepath.Join(dir, "c.gguf")}
			},
			targets: []string{"c.gguf"}, old: true,
		},
		"imatrix": {
			args: func(dir string) []string {
				return []string{"imatrix", m, "--data", data, "-c", "64", "--save-every", "1", "--resume", "-o", filepath.Join(dir, "im.gguf")}
			},
			targets: []string{"im.gguf"}, old: true,
		},
		"imatrix in the legacy form": {
			args: func(dir string) []string {
				return []string{"imatrix", m, "--data", data, "-c", "128", "--resume", "-o", filepath.Join(dir, "im.dat")}
			},
			targets: []string{"im.dat"},
		},
		"logits": {
			args: func(dir string) []string {
				return []string{"logits", m, "--tokens", "1,2,3", "-o", filepath.Join(dir, "l.npy")}
			},
			targets: []string{"l.npy"}, old: true,
		},
		"ollama create": {
			args: func(dir string) []string {
				os.Setenv("OLLAMA_MODELS", dir)
				return []string{"ollama", "create", "me/x", "--model", m, "--via", "store"}
			},
			targets: []string{"manifests/registry.ollama.ai/me/x/latest"},
		},
		"ollama create --modelfile": {
			args: func(dir string) []string {
				return []string{"ollama", "create", "me/x", "--model", m, "--modelfile", filepath.Join(dir, "Modelfile")}
			},
			targets: []string{"Modelfile"}, old: true,
		},
		"finetune": {
			args: func(dir string) []string {
				return append(finetune, "--adapter", filepath.Join(dir, "a.gguf"), "--run-dir", filepath.Join(dir, "runs", "1"))
			},
			targets: []string{"a.gguf"}, old: true, runDir: filepath.Join("runs", "1"),
		},
		"finetune --full": {
			args: func(dir string) []string {
				return append(finetune, "--full", filepath.Join(dir, "full.gguf"), "--run-dir", filepath.Join(dir, "run"))
			},
			targets: []string{"full.gguf"}, runDir: "run", every: 3,
		},
	}
}

// step is how many calls apart those are that are disturbed.
func (w writer) step() int {
	if testing.Short() {
		return 7
	}
	return max(1, w.every)
}

const oldText = "of an earlier time"

// begin makes a folder as it is before the command.
func (w writer) begin(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for _, name := range w.targets {
		if !w.old {
			break
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(oldText), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// on runs the command with a system in place of the real one.
func (w writer) on(system atomicfile.System, dir string) (code int, said string) {
	defer atomicfile.Replace(system)()
	var stderr bytes.Buffer
	code = run(context.Background(), w.args(dir), strings.NewReader(""), io.Discard, &stderr)
	return code, stderr.String()
}

// files reads all that is in dir, by path; folders do not count.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(filepath.Join(dir, path))
		all[path] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func (w writer) onlyTargets(all map[string]string) map[string]string {
	maps.DeleteFunc(all, func(name, _ string) bool { return !slices.Contains(w.targets, name) })
	return all
}

// before are the targets as they were before the command.
func (w writer) before() map[string]string {
	all := map[string]string{}
	for _, name := range w.targets {
		if w.old {
			all[name] = oldText
		}
	}
	return all
}

func partial(all map[string]string) (names []string) {
	for name := range all {
		if strings.HasSuffix(name, atomicfile.Suffix) {
			names = append(names, name)
		}
	}
	return names
}

// attempt is a command that is disturbed again and again.
type attempt struct {
	writer
	want map[string]string // what it writes if nothing disturbs it: the targets alone
	went map[string]bool   // the folders from which it has gone on already
}

func (w writer) attempt(t *testing.T) attempt {
	t.Helper()
	dir := w.begin(t)
	if code, said := w.on(atomicfile.Disk(), dir); code != exitDone {
		t.Fatalf("exit code %d: %s", code, said)
	}
	want := w.onlyTargets(files(t, dir))
	if len(want) != len(w.targets) {
		t.Fatalf("expected %q, found %q", w.targets, slices.Sorted(maps.Keys(files(t, dir))))
	}
	return attempt{w, want, map[string]bool{}}
}

// again runs the command undisturbed where it was disturbed before, unless it has gone
// on from the same state already.
func (a attempt) again(t *testing.T, label, dir string) (went bool) {
	t.Helper()
	state := stateOf(files(t, dir))
	if a.went[state] {
		return false
	}
	a.went[state] = true
	code, said := a.on(atomicfile.Disk(), dir)
	if code != exitDone {
		t.Errorf("%s: the next run: exit code %d: %s", label, code, said)
	}
	all := files(t, dir)
	if names := partial(all); len(names) > 0 {
		t.Errorf("%s: the next run leaves %q", label, names)
	}
	if !maps.Equal(a.onlyTargets(all), a.want) {
		t.Errorf("%s: the next run makes other bytes", label)
	}
	return true
}

var hexDigits = regexp.MustCompile(`[0-9a-f]{8}`)

// stateOf is the same for folders that differ in random names and measured times alone.
func stateOf(all map[string]string) string {
	var state []string
	for name, text := range all {
		if strings.HasSuffix(name, ".jsonl") {
			text = fmt.Sprint(strings.Count(text, "\n"), strings.HasSuffix(text, "\n"))
		}
		if strings.HasSuffix(name, atomicfile.Suffix) {
			name = hexDigits.ReplaceAllString(name, "")
		}
		state = append(state, fmt.Sprintf("%q %x", name, sha256.Sum256([]byte(text))))
	}
	slices.Sort(state)
	return strings.Join(state, "\n")
}

func TestEveryFailedCallIsAnErrorThatLeavesTheOldOrTheNew(t *testing.T) {
	for name, w := range writers(t) {
		t.Run(name, func(t *testing.T) {
			a, step := w.attempt(t), w.step()
			for at := 0; a.fail(t, "fails", faulty.Fail(at)); at += step {
			}
			if a.runDir != "" {
				step *= 3 // these run for longer
			}
			for at := 0; a.fail(t, "finds the disk full", faulty.Full(at)); at += step {
			}
		})
	}
}

// fail runs the command on a system that fails somewhere, and reports whether it did.
func (a attempt) fail(t *testing.T, how string, system *faulty.Failing) bool {
	t.Helper()
	dir := a.begin(t)
	code, said := a.on(system, dir)
	failed := system.Failed()
	if failed == nil {
		return false
	}
	label, all := fmt.Sprintf("%s %s", failed, how), files(t, dir)
	if names := partial(all); len(names) > 0 && failed.Kind != faulty.Remove {
		t.Errorf("%s: left behind: %q", label, names)
	}
	got := a.onlyTargets(all)
	rides := failed.Kind == faulty.Close || failed.Kind == faulty.Remove ||
		a.runDir != "" && strings.Contains(failed.Name, filepath.Join(dir, a.runDir)) && strings.Contains(said, "warning: ")
	last := said[strings.LastIndex("\n"+strings.TrimSuffix(said, "\n"), "\n"):]
	switch {
	case code == exitDone && !rides:
		t.Errorf("%s: exit code 0", label)
	case code != exitDone && code != exitFailed:
		t.Errorf("%s: exit code %d", label, code)
	case code == exitDone && !maps.Equal(got, a.want):
		t.Errorf("%s: exit code 0, but the result is not there", label)
	case code == exitFailed && (!strings.HasPrefix(last, "qtool: ") || !strings.Contains(last, dir)):
		t.Errorf("%s: the error names no file: %s", label, said)
	case code == exitFailed && how != "fails" && !strings.Contains(said, "is full; free some space"):
		t.Errorf("%s: the error does not say what to do: %s", label, said)
	}
	if !maps.Equal(got, a.want) && !maps.Equal(got, a.before()) {
		t.Errorf("%s: the result is neither the old nor the new", label)
	}
	a.again(t, label, dir)
	return true
}

func TestEveryCrashLeavesTheOldOrTheNewAndIsGoneOnFromThere(t *testing.T) {
	for name, w := range writers(t) {
		t.Run(name, func(t *testing.T) {
			a, dir := w.attempt(t), w.begin(t)
			r, err := faulty.Record(dir)
			if err != nil {
				t.Fatal(err)
			}
			if code, said := w.on(r, dir); code != exitDone {
				t.Fatalf("exit code %d: %s", code, said)
			}
			count := 0
			for c := range r.Crashes {
				if count++; count%w.step() == 0 {
					a.crash(t, c)
				}
			}
			end := t.TempDir()
			if err := r.Durable().Make(end); err != nil {
				t.Fatal(err)
			}
			if !maps.Equal(w.onlyTargets(files(t, end)), a.want) {
				t.Error("at the end not all is durable")
			}
			t.Logf("%d calls, %d crashes", len(r.Calls()), count)
		})
	}
}

func (a attempt) crash(t *testing.T, c faulty.Crash) {
	t.Helper()
	dir := t.TempDir()
	if err := c.Make(dir); err != nil {
		t.Fatal(err)
	}
	got := a.onlyTargets(files(t, dir))
	_, usable := got[a.targets[0]]
	if !maps.Equal(got, a.want) && !maps.Equal(got, a.before()) && (usable || !a.set) {
		t.Errorf("%s: the result is neither the old nor the new", c)
	}
	if a.again(t, c.String(), dir) && c.Kill && a.runDir != "" {
		checkRecord(t, c.String(), filepath.Join(dir, a.runDir, "metrics.jsonl"))
	}
}

// checkRecord makes sure that a record tells of each of the two steps once, in order.
func checkRecord(t *testing.T, label, path string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Errorf("%s: %v", label, err)
		return
	}
	var steps []int
	for line := range strings.Lines(string(text)) {
		var e struct {
			Type string
			Step int
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Errorf("%s: line %q of the record: %v", label, line, err)
		}
		if e.Type == "step" {
			steps = append(steps, e.Step)
		}
	}
	if !slices.Equal(steps, []int{1, 2}) {
		t.Errorf("%s: the record has steps %v", label, steps)
	}
}
