package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"qtool/fixtures"
)

func TestABaseThatIsReadPartByPartGivesTheSameAdapter(t *testing.T) {
	dir := t.TempDir()
	data := filepath.Join(dir, "text.txt")
	if err := os.WriteFile(data, bytes.Repeat([]byte("one two three four. "), 60), 0o666); err != nil {
		t.Fatal(err)
	}
	for name, shape := range map[string]fixtures.Shape{
		"dense":   {Dim: 128, FF: 512, Layers: 12},
		"experts": {Dim: 64, FF: 128, Layers: 4, Experts: 4},
	} {
		base := tinyFile(t, shape)
		for _, extra := range []string{"--packing", "--checkpointing"} {
			tune := func(out string, args ...string) finetuneReport {
				cmd := exec.Command("qtool", append([]string{"finetune", "--model", base, "--data", data, "--steps", "2", "--seq", "32", "--rank", "2", "--json", "--adapter", out, extra}, args...)...)
				text, err := cmd.Output()
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				var r finetuneReport
				if err := json.Unmarshal(text, &r); err != nil {
					t.Fatal(err)
				}
				return r
			}
			whole, parts := filepath.Join(dir, "whole.gguf"), filepath.Join(dir, "parts.gguf")
			r := tune(whole)
			m := r.Plan.Memory
			half := strconv.FormatInt(m.Total+m.MappedBase*3/4, 10)
			if r := tune(parts, "--max-resident", half); r.MappedLimit == 0 || r.MappedLimit >= m.MappedBase {
				t.Errorf("%s: of %d bytes, at most %d were to be in memory", name, m.MappedBase, r.MappedLimit)
			}
			a, _ := os.ReadFile(whole)
			b, _ := os.ReadFile(parts)
			if len(a) == 0 || !bytes.Equal(a, b) {
				t.Errorf("%s %s: the adapters differ", name, extra)
			}
		}
	}
}
