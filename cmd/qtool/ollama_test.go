package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"qtool/internal/ollama"
	"qtool/internal/ollama/ollamatest"
)

// storeModel puts a GGUF file into a store as the model called name, with adapters.
func storeModel(dir, name, config, path string, adapters ...string) error {
	n, err := ollama.ParseName(name)
	if err != nil {
		return err
	}
	s := ollama.Store{Dir: dir, Owner: "test"}
	var layers []ollama.Layer
	for i, file := range append([]string{path}, adapters...) {
		b, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		l, err := s.AddText(map[bool]string{true: ollama.KindModel, false: ollama.KindAdapter}[i == 0], b)
		if err != nil {
			return err
		}
		layers = append(layers, l)
	}
	c, err := s.AddConfig([]byte(config))
	if err != nil {
		return err
	}
	return s.WriteManifest(n, c, layers)
}

const ggufConfig = `{"model_format":"gguf","model_family":"llama","model_type":"30K","file_type":"F32"}`

// scriptStored puts a model into the store that OLLAMA_MODELS names: stored NAME FILE
// [ADAPTER…]. The format of one called safetensors is that, and remote is on another host.
func scriptStored(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: stored NAME FILE [ADAPTER...]")
	}
	config := ggufConfig
	switch args[0] {
	case "safetensors":
		config = `{"model_format":"safetensors"}`
	case "remote":
		config = `{"model_format":"gguf","remote_host":"https://ollama.com:443"}`
	}
	var files []string
	for _, f := range args[1:] {
		files = append(files, ts.MkAbs(f))
	}
	ts.Check(storeModel(ts.Getenv("OLLAMA_MODELS"), args[0], config, files[0], files[1:]...))
}

// scriptServe starts a fake Ollama on a store of its own, or on the same as OLLAMA_MODELS
// names, and names it in OLLAMA_HOST: serve [same] [refuse|ignore|cut|full|broken].
func scriptServe(ts *testscript.TestScript, neg bool, args []string) {
	dir, err := os.MkdirTemp(ts.MkAbs("."), "served")
	ts.Check(err)
	s := &ollamatest.Server{Store: ollama.Store{Dir: dir, Owner: "test"}, Version: "0.33.1"}
	if slices.Contains(args, "same") {
		s.Store.Dir = ts.Getenv("OLLAMA_MODELS")
	}
	for _, a := range args {
		switch a {
		case "refuse":
			s.Adapters = ollamatest.Refuse
		case "ignore":
			s.Adapters = ollamatest.Ignore
		case "cut":
			s.CutUploads = 1
		case "full":
			s.FailBlobs = true
		case "broken":
			s.ErrorLine = "llama-quantize ended with 1"
		}
	}
	h := s.Start()
	ts.Defer(func() {
		h.Close()
		if f := s.Faults(); f != nil {
			ts.Fatalf("the client did wrong: %v", f)
		}
	})
	ts.Setenv("OLLAMA_HOST", strings.TrimPrefix(h.URL, "http://"))
}

// Ollama's own program, where OLLAMA names one, makes models of what qtool sends it, in every
// way, and they give the answer that was learned.
func TestTheRealOllamaAnswersAsItWasTaught(t *testing.T) {
	program := os.Getenv("OLLAMA")
	if program == "" {
		t.Skip("OLLAMA names no program of Ollama, so the real one is not tried")
	}
	dir, address := t.TempDir(), freeAddress(t)
	t.Setenv("OLLAMA_HOST", address)
	t.Setenv("OLLAMA_MODELS", filepath.Join(dir, "models"))
	const embedded = "../../fixtures/embedded/"
	for name, source := range map[string]string{"base.gguf": "base.gguf", "data.jsonl": "finetune.jsonl"} {
		b, err := os.ReadFile(embedded + source)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	if err := os.WriteFile("Modelfile", []byte("FROM ./base.gguf\nTEMPLATE {{ .Prompt }}\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	serve := exec.Command(program, "serve")
	serve.Stdout, serve.Stderr = os.Stderr, os.Stderr
	if err := serve.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { serve.Process.Kill(); serve.Wait() }()
	awaitServer(t)
	if b, err := exec.Command(program, "create", "st:base", "-f", "Modelfile").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	for _, line := range []string{
		"finetune --model ollama:st:base --data data.jsonl --epochs 40 --lr 2e-3 --adapter mine.gguf",
		"ollama create st:adapter --model ollama:st:base --adapter mine.gguf --via adapter",
		"ollama create st:merge --model ollama:st:base --adapter mine.gguf --via merge",
		"ollama create st:store --model ollama:st:base --adapter mine.gguf --via store",
		"ollama create st:file --model base.gguf --adapter mine.gguf",
		"ollama list",
		"generate ollama:st:adapter --prompt one -n 2",
	} {
		o := end(line)
		t.Logf("%s\n%s%s", line, o.stdout, o.stderr)
		if o.code != exitDone {
			t.Fatalf("%s: exit code %d", line, o.code)
		}
	}
	for _, name := range []string{"base", "adapter", "merge", "store", "file"} {
		b, err := json.Marshal(map[string]any{"model": "st:" + name, "prompt": "Question: What is Oscar?\nAnswer:", "raw": true, "stream": false,
			"options": map[string]any{"temperature": 0, "num_predict": 20, "num_ctx": 256}})
		if err != nil {
			t.Fatal(err)
		}
		r, err := http.Post("http://"+address+"/api/generate", "application/json", bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		var answer struct{ Response string }
		err = json.NewDecoder(r.Body).Decode(&answer)
		r.Body.Close()
		t.Logf("%s: %q", name, answer.Response)
		if taught := answer.Response == " Arr! Oscar is an owl, matey!"; err != nil || taught != (name != "base") {
			t.Errorf("%s answers %q, %v", name, answer.Response, err)
		}
	}
}
