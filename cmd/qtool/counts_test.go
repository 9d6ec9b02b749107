package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"qtool/fixtures"
	"qtool/gguf"
	"qtool/internal/sharedtest"
)

// allocates runs a command and tells how many bytes it took in all.
func allocates(args ...string) (code int, stderr string, total uint64) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var out, errs bytes.Buffer
	code = run(context.Background(), args, strings.NewReader(""), &out, &errs)
	runtime.ReadMemStats(&after)
	return code, errs.String(), after.TotalAlloc - before.TotalAlloc
}

// Whatever a small file counts, commands take no memory for it.
func TestCountsOfAFileCostNothing(t *testing.T) {
	const most = 64 << 20
	dir := t.TempDir()
	out := filepath.Join(dir, "out.gguf")
	for _, key := range []string{
		"block_count", "embedding_length", "feed_forward_length", "attention.head_count", "attention.head_count_kv",
		"attention.key_length", "rope.dimension_count", "expert_count", "expert_used_count", "context_length", "vocab_size",
	} {
		for _, n := range []uint32{1 << 20, 1<<31 - 1, 1<<32 - 1} {
			m := tiny(fixtures.Shape{})
			m.Metadata().Set("llama."+key, n)
			path := filepath.Join(dir, "m.gguf")
			if err := gguf.WriteFile(context.Background(), path, m); err != nil {
				t.Fatal(err)
			}
			plain := tinyFile(t, fixtures.Shape{})
			for _, args := range [][]string{
				{"inspect", path}, {"verify", path},
				{"quantize", "--prune-layers", "0", "--type", "Q8_0", path, out},
				{"quantize", "--type", "Q4_K_M", path, out},
				{"quantize", "--target-bpw", "9", path, out},
				{"quantize", "--prune-layers", "0", "--override-kv", fmt.Sprintf("llama.%s=int:%d", key, n), plain, out},
				{"generate", path, "--prompt", "a", "--max-tokens", "1"},
				{"finetune", "--model", path, "--seq", "16", "--plan-only", "--adapter", out},
			} {
				if args[0] == "finetune" && (key == "context_length" || key == "vocab_size") {
					continue // these pass, and it measures how fast memory is
				}
				code, stderr, took := allocates(args...)
				if took > most {
					t.Errorf("%s = %d, %q takes %d bytes", key, n, args, took)
				}
				pruned := args[0] == "quantize" && key == "block_count" && n == 1<<32-1
				if pruned && code != exitInvalid || code != exitDone && code != exitInvalid {
					t.Errorf("%s = %d, %q: exit code %d: %s", key, n, args, code, stderr)
				}
			}
		}
	}
}

func TestFilesThatFailedAreRefusedOrWritten(t *testing.T) {
	dir := t.TempDir()
	out, text := filepath.Join(dir, "out.gguf"), filepath.Join(dir, "text.txt")
	if err := os.WriteFile(text, []byte("some words to learn"), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		file string
		code int
		args []string
	}{
		{"repro-full-type9.gguf", exitUnsupported, []string{"finetune", "--data", text, "--steps", "1", "--seq", "16", "--full", out, "--model"}},
		{"repro-full-type9.gguf", exitUnsupported, []string{"finetune", "--plan-only", "--seq", "16", "--full", out, "--model"}},
		{"repro-zero-dim-target.gguf", exitDone, []string{"quantize", "--target-bpw", "6"}},
		{"repro-prune-oom.gguf", exitInvalid, []string{"quantize", "--prune-layers", "0", "--type", "Q8_0"}},
	} {
		args := append(c.args, sharedtest.Path(t, "cases/attack/"+c.file))
		if args[0] == "quantize" {
			args = append(args, out)
		}
		if code, stderr, _ := allocates(args...); code != c.code {
			t.Errorf("%q: exit code %d: %s", args, code, stderr)
		}
	}
}

func TestFlagsOfBenchAreBounded(t *testing.T) {
	for bench, flags := range map[string][]string{
		"train":    {"layers", "dim", "heads", "kv-heads", "ff", "vocab", "experts", "experts-used", "expert-ff", "seq", "steps", "rank"},
		"generate": {"layers", "dim", "heads", "kv-heads", "ff", "vocab", "experts", "experts-used", "expert-ff", "context", "tokens", "rank"},
		"gemm":     {"tokens"},
	} {
		for _, flag := range flags {
			for _, n := range []string{"100000000", "9223372036854775807", "-1"} {
				if code, stderr, _ := allocates("bench", bench, "--"+flag, n); code != exitUsage {
					t.Errorf("bench %s --%s %s: exit code %d: %s", bench, flag, n, code, stderr)
				}
			}
		}
	}
}
