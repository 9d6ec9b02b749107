package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"qtool/fixtures"
	"qtool/internal/loop"
	"qtool/train"
)

func TestABaseThatIsReadPartByPartGivesTheSameAdapter(t *testing.T) {
	dir := t.TempDir()
	data := filepath.Join(dir, "text.txt")
	if err := os.WriteFile(data, bytes.Repeat([]byte("one two three four. "), 60), 0o666); err != nil {
		t.Fatal(err)
	}
	for name, shape := range map[string]fixtures.Shape{
		"dense":   {Dim: 128, FF: 512, Layers: 12},
		"experts": {Dim: 64, FF: 128, Layers: 12, Experts: 4},
	} {
		base := tinyFile(t, shape)
		for _, extra := range []string{"--packing", "--checkpointing"} {
			tune := func(out string, args ...string) train.Report {
				cmd := exec.Command("qtool", append([]string{"finetune", "--model", base, "--data", data, "--steps", "2", "--seq", "32", "--rank", "2", "--json", "--adapter", out, extra}, args...)...)
				text, err := cmd.Output()
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				var r train.Report
				if err := json.Unmarshal(text, &r); err != nil {
					t.Fatal(err)
				}
				return r
			}
			whole, parts := filepath.Join(dir, "whole.gguf"), filepath.Join(dir, "parts.gguf")
			r := tune(whole)
			m := r.Plan.Memory
			// What the program itself takes differs by half a megabyte and more each time.
			part := strconv.FormatInt(m.Total+m.MappedBase*5/8, 10)
			if r := tune(parts, "--max-resident", part); r.MappedLimit == 0 || r.MappedLimit >= m.MappedBase {
				t.Errorf("%s: of %d bytes, at most %d were to be in memory, beside %d after %d", name, m.MappedBase, r.MappedLimit, r.Plan.Memory.Total, m.Total)
			}
			a, _ := os.ReadFile(whole)
			b, _ := os.ReadFile(parts)
			if len(a) == 0 || !bytes.Equal(a, b) {
				t.Errorf("%s %s: the adapters differ", name, extra)
			}
		}
	}
}

// What conversion changes is copied, and no limit can make it read part by part: it
// belongs to the memory that a run takes, and is told.
func TestWeightsThatConversionChangesCountAsMemory(t *testing.T) {
	dir := t.TempDir()
	folder, converted, data, out := filepath.Join(dir, "mixtral"), filepath.Join(dir, "mixtral.gguf"), filepath.Join(dir, "ids.jsonl"), filepath.Join(dir, "a.gguf")
	if err := os.Mkdir(folder, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := fixtures.TinyFolder(1, "MixtralForCausalLM", fixtures.FolderOptions{}).Write(context.Background(), folder, 0); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(data, []byte(`{"input_ids":[5,9,33,2,8,1,7,7]}`+"\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	qtool(t, "quantize", "--type", "BF16", folder, converted)
	memory := func(base string, args ...string) loop.Memory {
		args = append([]string{"finetune", "--model", base, "--seq", "16", "--json"}, args...)
		var plan train.Estimate
		if err := json.Unmarshal([]byte(qtool(t, append(args, "--plan-only")...)), &plan); err != nil {
			t.Fatal(err)
		}
		var r train.Report
		if err := json.Unmarshal([]byte(qtool(t, append(args, "--data", data, "--steps", "1", "--eval-split", "0", "--adapter", out)...)), &r); err != nil {
			t.Fatal(err)
		}
		if m := r.Plan.Memory; m.Copied != plan.Memory.Copied || m.MappedBase != plan.Memory.MappedBase {
			t.Errorf("%s: %+v predicted, the run says %+v", base, plan.Memory, m)
		}
		return *r.Plan.Memory
	}
	f, g := memory(folder), memory(converted)
	if g.Copied != 0 || g.MappedBase == 0 {
		t.Errorf("of a GGUF file: %+v", g)
	}
	if f.Copied < g.MappedBase/2 || f.MappedBase == 0 {
		t.Errorf("of a folder whose experts are stacked: %+v", f)
	}
	var out1, errs bytes.Buffer
	code := run(context.Background(), []string{"finetune", "--model", folder, "--data", data, "--adapter", out, "--seq", "16", "--eval-split", "0", "--max-resident", "1K"}, strings.NewReader(""), &out1, &errs)
	if code != exitUsage || !strings.Contains(errs.String(), "converted on loading") {
		t.Errorf("exit code %d: %s", code, errs.String())
	}
}
