package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"qtool/fixtures"
	"qtool/gguf"
	"qtool/internal/kernel/simd"
	"qtool/lora"
	"qtool/train"
)

// workbench is one model in several files, a text, and the results that are known.
type workbench struct {
	bases map[string]string // the same tensors: GGUF of versions 2 and 3, big-endian, in shards
	data  string
	known map[string][]byte // by class
}

func newWorkbench(t *testing.T) *workbench {
	t.Helper()
	dir := t.TempDir()
	m := tiny(fixtures.Shape{Layers: 3, Dim: 256, FF: 256, Heads: 4, KVHeads: 1})
	old, big := forge(m), forge(m)
	old.version = 2
	big.toBigEndian()
	w := &workbench{map[string]string{"shards": filepath.Join(dir, "shards-00001-of-00005.gguf")}, filepath.Join(dir, "data.txt"), map[string][]byte{}}
	for name, b := range map[string][]byte{"v3": encoded(m), "v2": old.bytes(), "big-endian": big.bytes()} {
		w.bases[name] = filepath.Join(dir, name+".gguf")
		if err := os.WriteFile(w.bases[name], b, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if err := gguf.WriteFile(context.Background(), filepath.Join(dir, "shards.gguf"), m, gguf.WithSplitTensors(6)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(w.data, []byte(strings.Repeat("All work and no play makes Jack a dull boy. ", 12)), 0o666); err != nil {
		t.Fatal(err)
	}
	return w
}

// toBigEndian makes the file of a model in F32 one for machines of the other byte order.
func (f *forged) toBigEndian() {
	f.order = binary.BigEndian
	for _, t := range f.tensors {
		for i := 0; i+4 <= len(t.data); i += 4 {
			slices.Reverse(t.data[i : i+4])
		}
	}
}

// invariant is a job whose result is the same bytes in whatever way it is done.
type invariant struct {
	// One of the lines is the job. BASE, DATA and OUT stand for the files, RUN for a run directory.
	lines []string
	// arithmetic names the tiers that have equal sums in it; nil: all.
	arithmetic func(line, tier string) string
	flags      []string // change nothing, each by itself; COUNT stands for a small number
	resumable  string   // flags with which it can go on after it was killed; "" if it cannot
	resident   bool     // it can read the base part by part
	shards     bool     // its output may be written in shards, and joined
}

// float32Sums: the tier that has products in bfloat16 computes in float32 as avx512 does.
func float32Sums(line, tier string) string {
	if tier == "avx512bf16" && !strings.Contains(line, "--precision auto") {
		return "avx512"
	}
	return tier
}

func invariants() []invariant {
	quantizing := invariant{shards: true}
	for _, typ := range []string{"COPY", "F16", "Q8_0", "Q5_1", "Q4_K_M", "Q6_K", "Q3_K_S", "Q2_K", "IQ4_XS", "IQ3_S", "TQ2_0", "MXFP4_MOE"} {
		quantizing.lines = append(quantizing.lines, "quantize --type "+typ+" BASE OUT.gguf")
	}
	const tune = "finetune --model BASE --data DATA --seq 32 --steps 5 --lr 1e-2 --eval-split 0.2 --seed 7 "
	return []invariant{
		quantizing,
		{
			lines: []string{
				tune + "--rank 4 --precision f32 --adapter OUT.gguf", tune + "--rank 4 --precision auto --adapter OUT.gguf",
				tune + "--rank 2 --precision f32 --batch 2 --grad-accum 2 --adapter OUT.gguf", tune + "--precision f32 --full OUT.gguf",
			},
			arithmetic: float32Sums,
			flags:      []string{"--checkpointing", "--eval-every COUNT", "--eval-tokens 50"},
			resumable:  "--run-dir RUN --save-every COUNT", resident: true,
		},
		{
			lines:      []string{"imatrix BASE --data DATA -c 16 -o OUT.gguf", "imatrix BASE --data DATA -c 8 --process-output -o OUT.gguf"},
			arithmetic: float32Sums,
			flags:      []string{"--no-ppl"},
			resumable:  "--save-every COUNT",
		},
		{
			lines:      []string{"logits BASE --tokens 1,2,3,4,5,6,7,8,9,10,11,12 -o OUT.npy", "logits BASE --prompt work -o OUT.npy"},
			arithmetic: float32Sums,
		},
	}
}

// way is one way to do a job.
type way struct {
	line, tier, base string
	flags            []string
	killed           time.Duration // after which time, and then resumed
}

// do does the job, and returns the file that it makes and what it prints.
func (w *workbench) do(t *testing.T, v way) (result, stdout []byte) {
	t.Helper()
	dir := t.TempDir()
	line := strings.Join(append([]string{v.line}, v.flags...), " ")
	args := strings.Fields(strings.NewReplacer("BASE", w.bases[v.base], "DATA", w.data, "OUT", filepath.Join(dir, "out"), "RUN", filepath.Join(dir, "run")).Replace(line))
	qtool := func(args []string, limit time.Duration) ([]byte, error) {
		cmd := exec.Command("qtool", args...)
		cmd.Env = append(os.Environ(), "QTOOL_CPU="+v.tier)
		var out, errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errs
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if limit > 0 {
			defer time.AfterFunc(limit, func() { cmd.Process.Kill() }).Stop()
		}
		err := cmd.Wait()
		if err != nil && (limit == 0 || cmd.ProcessState.Exited()) {
			t.Fatalf("QTOOL_CPU=%s qtool %s: %v\n%s", v.tier, strings.Join(args, " "), err, errs.String())
		}
		return out.Bytes(), err
	}
	stdout, err := qtool(args, v.killed)
	if err != nil {
		stdout, _ = qtool(append(args, "--resume"), 0)
	}
	if shards, _ := filepath.Glob(filepath.Join(dir, "out-00001-of-*.gguf")); len(shards) == 1 {
		qtool([]string{"join", shards[0], filepath.Join(dir, "out.gguf")}, 0)
	}
	if _, err := os.Stat(filepath.Join(dir, "out.gguf")); err == nil {
		return withoutEvaluation(t, filepath.Join(dir, "out.gguf")), stdout
	}
	if result, err = os.ReadFile(filepath.Join(dir, "out.npy")); err == nil {
		return result, stdout
	}
	t.Fatal(err)
	return nil, nil
}

// withoutEvaluation is a file, but for what it says of how well it did: that depends on how
// much --eval-tokens evaluates.
func withoutEvaluation(t *testing.T, path string) []byte {
	t.Helper()
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	training, ok := lora.RecordedTraining(f.Metadata())
	if !ok {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	md := f.Metadata().Clone()
	training.HeldOut, training.HeldOutLoss = 0, 0
	training.Record(md)
	gguf.DropHashes(md)
	return encoded(gguf.Assemble(md, f.Tensors()))
}

// someWay is a way to do one of the job's lines.
func (j *invariant) someWay(rng *rand.Rand, w *workbench) way {
	number := func(s string) string { return strings.ReplaceAll(s, "COUNT", strconv.Itoa(1+rng.IntN(4))) }
	tiers, bases := simd.Names(), slices.Sorted(maps.Keys(w.bases))
	v := way{line: j.lines[rng.IntN(len(j.lines))], tier: tiers[rng.IntN(len(tiers))], base: bases[rng.IntN(len(bases))]}
	v.flags = []string{"--threads", strconv.Itoa(1 + rng.IntN(5))}
	for _, f := range j.flags {
		if rng.IntN(3) == 0 {
			v.flags = append(v.flags, number(f))
		}
	}
	if j.resumable != "" && rng.IntN(2) == 0 {
		v.flags = append(v.flags, number(j.resumable))
		if rng.IntN(2) == 0 {
			v.killed = time.Duration(20+rng.IntN(150)) * time.Millisecond
		}
	}
	if j.shards && rng.IntN(3) == 0 {
		v.flags = append([]string{"--split-max-size", strconv.Itoa(200+rng.IntN(2000)) + "K"}, v.flags...)
	}
	if rng.IntN(3) == 0 {
		v.flags = append(v.flags, []string{"--quiet", "--json", "--verbose"}[rng.IntN(3)])
	}
	return v
}

// Threads, tiers of equal arithmetic, the form of the base, what is saved on the way, how
// memory is kept low, kills: all of these may be as they like and change no bit of a result.
func TestSoakFlagsThatMayNotChangeBitsDoNot(t *testing.T) {
	w := newWorkbench(t)
	jobs := invariants()
	round := 0
	soak(t, 2*len(jobs), func(t *testing.T, rng *rand.Rand) {
		j := jobs[round%len(jobs)]
		round++
		v := j.someWay(rng, w)
		plain := way{line: v.line, tier: v.tier, base: "v3", flags: []string{"--threads", "1"}}
		class := v.line
		if j.arithmetic != nil {
			plain.tier = j.arithmetic(v.line, v.tier)
			class += " " + plain.tier
		}
		if w.known[class] == nil {
			w.known[class], _ = w.do(t, plain)
		}
		if j.resident && rng.IntN(2) == 0 {
			v.flags = append(v.flags, w.tightMemory(t, v)...)
		}
		if result, _ := w.do(t, v); !bytes.Equal(result, w.known[class]) {
			t.Errorf("%+v\nmakes another file than\n%+v", v, plain)
		}
	})
}

// tightMemory are flags that make a run read the base part by part, where it is mapped.
func (w *workbench) tightMemory(t *testing.T, v way) []string {
	t.Helper()
	v.killed = 0
	v.flags = append(slices.Clone(v.flags), "--json")
	_, stdout := w.do(t, v)
	var r train.Report
	if err := json.Unmarshal(stdout, &r); err != nil {
		t.Fatal(err)
	}
	m := r.Plan.Memory
	if m.MappedBase == 0 {
		return nil
	}
	return []string{"--max-resident", strconv.FormatInt(m.Total+m.MappedBase*3/4, 10)}
}
