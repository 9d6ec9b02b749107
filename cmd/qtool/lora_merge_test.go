package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"qtool/internal/sharedtest"
)

// A small adapter drowns in the rounding of a quantized base; --keep and --source keep it. The
// numbers that docs/adapters.md shows are of this kind, with more steps and more text.
func TestWhatKeepsAnAdapterInTheQuantizedTinystories(t *testing.T) {
	folder := sharedtest.Path(t, "data/tinystories-656k")
	words, err := os.ReadFile(sharedtest.Path(t, "data/text/calib_calibration_datav3_small.txt"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for name, text := range map[string][]byte{"train.txt": words[:100_000], "check.txt": words[100_000:]} {
		if err := os.WriteFile(at(name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	qtool(t, "quantize", "--type", "F16", folder, at("f16.gguf"))
	qtool(t, "quantize", "--type", "Q4_K_M", at("f16.gguf"), at("q4.gguf"))
	qtool(t, "finetune", "--model", at("q4.gguf"), "--data", at("train.txt"), "--seq", "128", "--steps", "150", "--adapter", at("a.gguf"))
	merge := func(flags ...string) (kl, kept float64, bytes int64) {
		args := append([]string{"lora", "merge", "--json", "--model", at("q4.gguf"), "--check-data", at("check.txt"), "--chunks", "8"}, flags...)
		var r struct {
			Kept  struct{ Kept float64 }
			Check struct {
				KL struct{ Mean struct{ Value float64 } } `json:"kl_divergence"`
			}
			Plan struct {
				Bytes int64 `json:"to_bytes"`
			}
		}
		if err := json.Unmarshal([]byte(qtool(t, append(args, at("a.gguf"), at("m.gguf"))...)), &r); err != nil {
			t.Fatal(err)
		}
		t.Logf("%v: %.1f %% kept, KL %.5f, %d bytes", flags, 100*r.Kept.Kept, r.Check.KL.Mean.Value, r.Plan.Bytes)
		return r.Check.KL.Mean.Value, r.Kept.Kept, r.Plan.Bytes
	}
	plain, kept, size := merge()
	if kept > 0.5 {
		t.Errorf("%.2f of the change is kept as it is, which tests nothing", kept)
	}
	if kl, kept, larger := merge("--keep", "0.9"); kl > plain/5 || kept < 0.9 || larger <= size {
		t.Errorf("--keep: KL %g, %g without; %g kept; %d bytes, %d without", kl, plain, kept, larger, size)
	}
	if kl, kept, same := merge("--source", at("f16.gguf")); kl > plain/5 || kept < 0.9 || same != size {
		t.Errorf("--source: KL %g, %g without; %g kept; %d bytes, %d without", kl, plain, kept, same, size)
	}
}
