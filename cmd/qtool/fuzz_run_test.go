package main

import (
	"bytes"
	"context"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"qtool/fixtures"
)

// FuzzResuming tampers with the files of a run directory. What is resumed from them ends
// with the bytes of a run that nobody touched, or is refused.
func FuzzResuming(f *testing.F) {
	base := encoded(tiny(fixtures.Shape{Layers: 1}))
	inputs := func(s *scene) {
		s.put("m.gguf", base)
		s.put("train.txt", []byte(strings.Repeat(fuzzText, 2)))
	}
	const command = "finetune --threads 1 --model IN/m.gguf --data IN/train.txt --seq 16 --rank 2 --lr 1e-2 --steps 4 --eval-every 1 --save-every 1 --run-dir OUT/run --adapter OUT/a.gguf"
	untouched := produced(f, command, inputs)["a.gguf"]
	begun := interruptedRun(f, command, inputs)
	if len(begun) < 2 {
		f.Fatalf("a run directory holds %q", slices.Sorted(maps.Keys(begun)))
	}
	addPrograms(f, len(begun), 1, forgeries+1)
	f.Fuzz(func(t *testing.T, file, _ byte, edits []byte) {
		s, p := newScene(t), &program{edits}
		inputs(s)
		tampered := slices.Sorted(maps.Keys(begun))[int(file)%len(begun)]
		for name, b := range begun {
			if name == tampered && filepath.Ext(name) == ".gguf" {
				b = p.tampered(takenApart(t, b))
			} else if name == tampered {
				b = p.rawAll(b)
			}
			s.leave(name, b)
		}
		if s.run(command+" --resume") != exitDone {
			return
		}
		if b, err := os.ReadFile(filepath.Join(s.out, "a.gguf")); err != nil || !bytes.Equal(b, untouched) {
			t.Errorf("resumed after a change in %s the run ends with other bytes: %v", tampered, err)
		}
	})
}

// interruptedRun returns the files of a run that was interrupted after its second step.
func interruptedRun(t testing.TB, line string, prepare func(*scene)) map[string][]byte {
	t.Helper()
	s := newScene(t)
	prepare(s)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stderr := &wordWatcher{word: "step 2", found: cancel}
	if code := run(ctx, s.args(line), strings.NewReader(""), io.Discard, stderr); code != exitInterrupted {
		t.Fatalf("exit code %d: %s", code, stderr.said.String())
	}
	return filesIn(t, s.out)
}

// wordWatcher calls found when it is told word.
type wordWatcher struct {
	word  string
	found func()
	said  bytes.Buffer
}

func (w *wordWatcher) Write(p []byte) (int, error) {
	w.said.Write(p)
	if strings.Contains(w.said.String(), w.word) {
		w.found()
	}
	return len(p), nil
}
