package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"qtool/fixtures"
	"qtool/internal/bench"
	"qtool/internal/printable"
	"qtool/train"
)

// near fails unless the plan predicted what was measured within 10%.
func near(t *testing.T, planned, measured int64) {
	t.Helper()
	if d := float64(planned)/float64(measured) - 1; d > 0.1 || d < -0.1 {
		t.Errorf("%s planned, %s measured: %+.1f%%", printable.Bytes(planned), printable.Bytes(measured), 100*d)
	} else {
		t.Logf("%s planned, %s measured: %+.1f%%", printable.Bytes(planned), printable.Bytes(measured), 100*d)
	}
}

func TestThePlanPredictsThePeakMemoryOfSteps(t *testing.T) {
	dense := "--layers 4 --dim 512 --heads 8 --kv-heads 2 --ff 1536 --vocab 4000"
	experts := dense + " --experts 16 --experts-used 4 --expert-ff 384"
	for _, args := range []string{
		dense + " --seq 384",
		dense + " --seq 384 --checkpointing",
		dense + " --seq 384 --precision f32 --threads 1",
		dense + " --seq 500 --threads 8 --type Q4_K_M",
		dense + " --seq 1000 --checkpointing --rank 64",
		experts + " --seq 256",
		experts + " --seq 256 --checkpointing --threads 1",
	} {
		t.Run(args, func(t *testing.T) {
			cmd := exec.Command("qtool", append([]string{"bench", "train", "--json", "--steps", "1"}, strings.Fields(args)...)...)
			out, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			var r bench.TrainResult
			if err := json.Unmarshal(out, &r); err != nil {
				t.Fatal(err)
			}
			if r.AnonymousBytes == 0 {
				t.Skip("this platform does not tell a process's anonymous memory")
			}
			near(t, r.PlannedBytes, r.AnonymousBytes)
		})
	}
}

func TestThePlanOfFinetunePredictsThePeakMemoryOfTheProcess(t *testing.T) {
	if _, ok := anonymousMemory(os.Getpid()); !ok {
		t.Skip("this platform does not tell a process's anonymous memory")
	}
	base := tinyFile(t, fixtures.Shape{Dim: 384, FF: 1536, Layers: 4, Heads: 6, KVHeads: 2, Context: 512})
	var records bytes.Buffer
	rng := rand.New(rand.NewPCG(1, 2))
	for range 60 {
		answer := strings.Repeat(strconv.Itoa(rng.IntN(1000)), 1+rng.IntN(60))
		fmt.Fprintf(&records, "{\"prompt\": \"say %d\", \"completion\": %q}\n", rng.IntN(1000), answer)
	}
	data := filepath.Join(t.TempDir(), "data.jsonl")
	if err := os.WriteFile(data, records.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, args := range []string{
		"--batch 4",
		"--batch 2 --grad-accum 2 --checkpointing --threads 1",
		"--batch 8 --no-packing --truncate --seq 200 --threads 7",
		"--full --batch 2",
	} {
		t.Run(args, func(t *testing.T) {
			output := filepath.Join(t.TempDir(), "a.gguf")
			to := []string{"--adapter", output}
			if rest, full := strings.CutPrefix(args, "--full"); full {
				args, to = rest, []string{"--full", output}
			}
			if !strings.Contains(args, "--seq") {
				args += " --seq 256"
			}
			cmd := exec.Command("qtool", append(append([]string{"finetune", "--model", base, "--data", data, "--steps", "3", "--eval-tokens", "500", "--json"}, to...), strings.Fields(args)...)...)
			var out, log bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &log
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			done := make(chan error)
			go func() { done <- cmd.Wait() }()
			var peak int64
			for running := true; running; {
				select {
				case err := <-done:
					if err != nil {
						t.Fatalf("%v\n%s", err, log.String())
					}
					running = false
				case <-time.After(time.Millisecond):
					now, _ := anonymousMemory(cmd.Process.Pid)
					peak = max(peak, now)
				}
			}
			var r train.Report
			if err := json.Unmarshal(out.Bytes(), &r); err != nil {
				t.Fatal(err)
			}
			near(t, r.Plan.Memory.Total, peak)
			if !regexp.MustCompile(`(?m)^memory .* at the peak[^\0]*^time `).Match(log.Bytes()) {
				t.Errorf("the memory is not told before the time:\n%s", log.String())
			}
		})
	}
}

// anonymousMemory is what a process holds of the system's memory apart from files.
func anonymousMemory(pid int) (int64, bool) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, false
	}
	_, rest, _ := strings.Cut(string(status), "RssAnon:")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0, false
	}
	kb, err := strconv.ParseInt(fields[0], 10, 64)
	return kb << 10, err == nil
}
