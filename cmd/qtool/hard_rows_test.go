package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"qtool/internal/sharedtest"
	"qtool/train"
)

// finetuneJSON runs finetune and returns its report and exit code.
func finetuneJSON(t *testing.T, args ...string) (r train.Report, code int, stderr string) {
	t.Helper()
	var out, said bytes.Buffer
	adapter := filepath.Join(t.TempDir(), "a.gguf")
	code = run(context.Background(), append([]string{"finetune", "--json", "--adapter", adapter}, args...), strings.NewReader(""), &out, &said)
	if code == exitDone {
		if err := json.Unmarshal(out.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
	}
	return r, code, said.String()
}

// Of these rows, 30 and 50 of 100 are ones that the model has never seen the like of:
// they lose many times what the others do, and must be learned like them.
func TestRowsThatAreHardAreLearnedWithEverySeed(t *testing.T) {
	base := sharedtest.Path(t, "data/stories260k/stories260K.gguf")
	for _, hard := range []string{"e30", "e50"} {
		data := sharedtest.Path(t, "cases/attack/"+hard+".jsonl")
		for seed := range 4 {
			r, code, stderr := finetuneJSON(t, "--model", base, "--data", data, "--steps", "200", "--seq", "128", "--no-packing", "--seed", fmt.Sprint(seed+1))
			if code != exitDone || r.Steps != 200 || r.Skipped > 0 || len(r.Rollbacks) > 0 {
				t.Errorf("%s, seed %d: exit code %d, %d steps, %d skipped, rolled back: %v\n%s", hard, seed+1, code, r.Steps, r.Skipped, r.Rollbacks, stderr)
				continue
			}
			if before, after := *r.Before.Loss, *r.After.Loss; !(after < before/2) {
				t.Errorf("%s, seed %d: held-out loss %.3f before, %.3f after", hard, seed+1, before, after)
			}
		}
	}
}

// With a rate so small that nothing changes, no row can be the fault of training.
func TestARateThatChangesNothingIsNeverTakenForDivergence(t *testing.T) {
	base := sharedtest.Path(t, "data/stories260k/stories260K.gguf")
	_, code, stderr := finetuneJSON(t, "--model", base, "--data", sharedtest.Path(t, "cases/attack/e50.jsonl"),
		"--steps", "60", "--seq", "128", "--no-packing", "--seed", "1", "--lr", "1e-45")
	if code != exitMismatch || strings.Contains(stderr, "rolled back") || strings.Contains(stderr, "skipped") || !strings.Contains(stderr, "no effect") {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
}

func TestARunThatTrulyDivergesIsRolledBackAndGivenUp(t *testing.T) {
	base := sharedtest.Path(t, "data/stories260k/stories260K.gguf")
	_, code, stderr := finetuneJSON(t, "--model", base, "--data", sharedtest.Path(t, "cases/attack/e50.jsonl"),
		"--steps", "60", "--seq", "128", "--no-packing", "--seed", "1", "--lr", "1e20")
	if code != exitFailed || !strings.Contains(stderr, "rolled back") || !strings.Contains(stderr, "try a much lower learning rate") {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
}
