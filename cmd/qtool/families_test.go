package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"qtool/fixtures"
	"qtool/gguf"
	"qtool/internal/arch"
	"qtool/internal/sharedtest"
	"qtool/train"
)

func TestTwentyStepsTeachAModelOfEveryFamily(t *testing.T) {
	data := familyData(t)
	models := map[string]gguf.Model{
		"deepseek2-lite":               liteModel(t, fixtures.TinyFamily(1, "deepseek2")),
		"longcat-flash, one more zero": withExpertOfZeros(t, fixtures.TinyFamily(1, "longcat-flash")),
	}
	for _, a := range arch.All() {
		models[a.Name] = fixtures.TinyFamily(1, a.Name)
	}
	for name, m := range models {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "base.gguf")
			if err := gguf.WriteFile(context.Background(), file, m); err != nil {
				t.Fatal(err)
			}
			twentySteps(t, file, data)
		})
	}
}

// liteModel routes by a softmax over all experts, as V2-Lite does: without groups, bias
// or norm of the weights.
func liteModel(t *testing.T, m gguf.Model) gguf.Model {
	md := m.Metadata().Clone()
	md.Set("deepseek2.expert_gating_func", uint32(1))
	for _, key := range []string{"expert_group_count", "expert_group_used_count", "expert_weights_norm", "expert_weights_scale"} {
		md.Delete("deepseek2." + key)
	}
	tensors := slices.DeleteFunc(slices.Clone(m.Tensors()), func(x *gguf.Tensor) bool { return strings.Contains(x.Name, "exp_probs_b") })
	if len(tensors) == len(m.Tensors()) {
		t.Fatal("there is no bias to leave out")
	}
	return gguf.Assemble(md, tensors)
}

// withExpertOfZeros has an expert more in each stack, which stands for all identity
// experts.
func withExpertOfZeros(t *testing.T, m gguf.Model) gguf.Model {
	var tensors []*gguf.Tensor
	for _, x := range m.Tensors() {
		if len(x.Shape) == 3 && strings.HasSuffix(x.Name, "_exps.weight") {
			b, err := x.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			one := make([]byte, len(b)/x.Shape[2])
			x = &gguf.Tensor{Name: x.Name, Type: x.Type, Shape: []int{x.Shape[0], x.Shape[1], x.Shape[2] + 1}, Data: gguf.Memory(append(slices.Clone(b), one...))}
		}
		tensors = append(tensors, x)
	}
	return gguf.Assemble(m.Metadata(), tensors)
}

func TestTwentyStepsTeachEveryReferenceModel(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(sharedtest.Path(t, "golden/archs"), "*.gguf"))
	if err != nil {
		t.Fatal(err)
	}
	data := familyData(t)
	for _, file := range files {
		if !strings.HasSuffix(file, ".lora.gguf") && knownArchitecture(t, file) {
			t.Run(filepath.Base(file), func(t *testing.T) { twentySteps(t, file, data) })
		}
	}
}

// familyData is a folder with one record to learn, which is also the one to
// evaluate with.
func familyData(t *testing.T) string {
	dir := t.TempDir()
	for _, file := range []string{"train.jsonl", "valid.jsonl"} {
		const record = `{"input_ids":[5,9,33,2,60,7,7,1,12,48,5,9,33,2,60,7,31,1,12,48]}`
		if err := os.WriteFile(filepath.Join(dir, file), []byte(record+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// knownArchitecture reports whether the decoder computes the model in file.
func knownArchitecture(t *testing.T, file string) bool {
	f, err := gguf.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	name, _ := f.Metadata().Str("general.architecture")
	for _, a := range arch.All() {
		if a.Name == name {
			return true
		}
	}
	return false
}

func twentySteps(t *testing.T, file, data string) {
	dir := t.TempDir()
	adapter := filepath.Join(dir, "a.gguf")
	var r train.Report
	out := qtool(t, "finetune", "--model", file, "--data", data, "--adapter", adapter, "--steps", "20", "--rank", "4", "--alpha", "8",
		"--lr", "5e-3", "--json", "--threads", "2")
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatal(err)
	}
	if before, after := *r.Before.Loss, *r.After.Loss; !(after < before-0.01) {
		t.Errorf("the loss was %g and is %g", before, after)
	}
	logits := func(name string, args ...string) []byte {
		path := filepath.Join(dir, name)
		qtool(t, append([]string{"logits", file, "--tokens", "5,9,33,2", "-o", path}, args...)...)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	if bytes.Equal(logits("base.npy"), logits("adapted.npy", "--lora", adapter)) || r.LogitChange == 0 {
		t.Error("the adapter does not change the logits")
	}
}

func TestTargetsThatInferenceDoesNotHonourAreForMergingOnly(t *testing.T) {
	dir := t.TempDir()
	base, adapter := filepath.Join(dir, "glm4.gguf"), filepath.Join(dir, "a.gguf")
	if err := gguf.WriteFile(context.Background(), base, fixtures.TinyFamily(1, "glm4")); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(dir, "ids.jsonl")
	if err := os.WriteFile(data, []byte(`{"input_ids":[5,9,33,2]}`+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	command := []string{"finetune", "--model", base, "--data", data, "--adapter", adapter, "--steps", "2", "--eval-split", "0", "--targets", "attn_output"}
	var stdout, stderr bytes.Buffer
	code := run(context.Background(), command, strings.NewReader(""), &stdout, &stderr)
	if code != exitUsage || !strings.Contains(stderr.String(), "assertion") || !strings.Contains(stderr.String(), "--merge-only") {
		t.Errorf("exit code %d: %s", code, stderr.String())
	}
	if out := qtool(t, append(command, "--merge-only")...); !strings.Contains(out, "for merging into the base only") {
		t.Errorf("it says only: %s", out)
	}
	// With the reason taken out of the file it is an adapter like any other, and refused.
	f, err := gguf.Open(adapter, gguf.WithoutMapping())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	md := f.Metadata().Clone()
	md.Delete("qtool.merge_only")
	bare := filepath.Join(dir, "bare.gguf")
	if err := gguf.WriteFile(context.Background(), bare, gguf.Assemble(md, f.Tensors())); err != nil {
		t.Fatal(err)
	}
	stderr.Reset()
	code = run(context.Background(), []string{"logits", base, "--tokens", "5,9", "--lora", bare, "-o", filepath.Join(dir, "l.npy")}, strings.NewReader(""), &stdout, &stderr)
	if code == exitDone || !strings.Contains(stderr.String(), "assertion") {
		t.Errorf("exit code %d: %s", code, stderr.String())
	}
}
