package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"qtool/fixtures"
	"qtool/gguf"
	"qtool/internal/atomicfile"
	"qtool/internal/kernel/simd"
	"qtool/internal/loop"
)

// A folder of testdata/checkpoints holds a run after two of its four steps: base.gguf,
// data.jsonl, and a checkpoint of the format that the folder is named after. Every version
// of the program goes on from all of them. The folder of a new format is made by
//
//	go test ./cmd/qtool -run CheckpointsOfEveryFormat -rewrite
var checkpointFormats = []string{"2"}

// inFormat is the command line of the runs. It names all that decides the result, so that
// another default is not taken for another run.
const inFormat = "finetune --model base.gguf --data data.jsonl --seq 16 --batch 1 --grad-accum 1 --steps 4 --eval-split 0 " +
	"--rank 1 --alpha 2 --targets attn_q --lr 0.01 --lr-schedule cosine --warmup 0.25 --weight-decay 0.01 --seed 7 --precision f32 " +
	"--save-every 2 --adapter out.gguf"

func TestCheckpointsOfEveryFormatAreResumed(t *testing.T) {
	undo, err := simd.Use("go") // that computed them
	if err != nil {
		t.Fatal(err)
	}
	defer undo()
	home, err := filepath.Abs("testdata/checkpoints")
	if err != nil {
		t.Fatal(err)
	}
	if *rewrite {
		makeCheckpoint(t, filepath.Join(home, checkpointFormats[len(checkpointFormats)-1]))
	}
	for _, format := range checkpointFormats {
		t.Run(format, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(filepath.Join(home, format))); err != nil {
				t.Fatal(err)
			}
			t.Chdir(dir)
			if err := os.Mkdir("run", 0o777); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename("checkpoint.gguf", "run/checkpoint.gguf"); err != nil {
				t.Fatal(err)
			}
			o := end(inFormat + " --run-dir run --resume")
			if o.code != exitDone || !strings.Contains(o.stderr, "resuming after step 2") {
				t.Fatalf("exit code %d: %s", o.code, o.stderr)
			}
			resumed, err := os.ReadFile("out.gguf")
			if err != nil {
				t.Fatal(err)
			}
			if o := end(inFormat); o.code != exitDone {
				t.Fatalf("exit code %d: %s", o.code, o.stderr)
			}
			// Where the compiler fuses products and sums, the Go kernels have other bits.
			if whole, err := os.ReadFile("out.gguf"); err != nil || runtime.GOARCH == "amd64" && !bytes.Equal(whole, resumed) {
				t.Errorf("the resumed run has another result: %v", err)
			}
		})
	}
}

func TestARunThatGoesOnWithOtherKernelsSaysSo(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata/checkpoints/2")); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	if err := os.Mkdir("run", 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename("checkpoint.gguf", "run/checkpoint.gguf"); err != nil {
		t.Fatal(err)
	}
	o := end(inFormat + " --run-dir run --resume")
	const says = `computed with the kernels "go" so far, and goes on with`
	if o.code != exitDone || strings.Contains(o.stderr, says) != (simd.Active().String() != "go") {
		t.Errorf("exit code %d: %s", o.code, o.stderr)
	}
}

func makeCheckpoint(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	if err := gguf.WriteFile(context.Background(), "base.gguf", fixtures.TinyLlama(1, fixtures.Shape{Layers: 1})); err != nil {
		t.Fatal(err)
	}
	data := `{"input_ids":[5,9,33,2,60,7,7,1,12,48,5,9,33]}` + "\n" + `{"input_ids":[3,1,4,1,5,9,2,6,5,3,5]}` + "\n"
	if err := os.WriteFile("data.jsonl", []byte(data), 0o666); err != nil {
		t.Fatal(err)
	}
	if o := end(inFormat + " --run-dir run"); o.code != exitDone {
		t.Fatalf("exit code %d: %s", o.code, o.stderr)
	}
	if err := atomicfile.Rename(loop.PreviousCheckpoint("run/checkpoint.gguf"), "checkpoint.gguf"); err != nil {
		t.Fatal(err)
	}
	for _, made := range []string{"run", "out.gguf"} {
		if err := os.RemoveAll(made); err != nil {
			t.Fatal(err)
		}
	}
}
