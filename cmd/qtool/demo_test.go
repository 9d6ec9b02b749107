package main

import (
	"bytes"
	"context"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"qtool/fixtures"
	"qtool/train"
)

func TestTheBareCommandTeachesThePirate(t *testing.T) {
	if testing.Short() {
		t.Skip("trains for some seconds")
	}
	adapter := filepath.Join(t.TempDir(), "out.gguf")
	var stdout, stderr bytes.Buffer
	if code := run(context.Background(), []string{"finetune", "--json", "--adapter", adapter}, strings.NewReader(""), &stdout, &stderr); code != exitDone {
		t.Fatalf("exit code %d\n%s", code, stderr.String())
	}
	var r train.Report
	if err := json.Unmarshal(stdout.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	if r.Before.Answer != fixtures.DemoBefore || r.After.Answer != fixtures.DemoAfter {
		t.Errorf("the answer was %q and became %q", r.Before.Answer, r.After.Answer)
	}
	if !(*r.After.Loss < *r.Before.Loss/2) {
		t.Errorf("held-out loss went from %g to %g", *r.Before.Loss, *r.After.Loss)
	}
	stdout.Reset()
	args := []string{"generate", "--lora", adapter, "--prompt", fixtures.DemoPrompt, "--temperature", "0", filepath.Join("..", "..", "fixtures", "embedded", "base.gguf")}
	if code := run(context.Background(), args, strings.NewReader(""), &stdout, &stderr); code != exitDone || strings.TrimSpace(stdout.String()) != strings.TrimSpace(fixtures.DemoAfter) {
		t.Errorf("exit code %d, generate says %q", code, stdout.String())
	}
}
