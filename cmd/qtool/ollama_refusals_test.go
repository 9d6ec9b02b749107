package main

import (
	"os"
	"path/filepath"
	"testing"

	"qtool/gguf"
	"qtool/internal/ollama"
)

// makeBadStore makes a store of Ollama in which every model has another fault.
func makeBadStore(t *testing.T, write func(string, []byte)) {
	t.Helper()
	const dir = "models"
	t.Setenv("OLLAMA_MODELS", dir)
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	changed(t, "m.gguf", "qkv.gguf", func(md *gguf.Metadata, tensors []*gguf.Tensor) []*gguf.Tensor {
		md.Set("general.architecture", "gptoss")
		return append(tensors, gguf.Float32Tensor("blk.0.attn_qkv.weight", []int{2}, []float32{1, 2}))
	})
	write("cut-later", []byte("to be cut"))
	write("gone-later", []byte("to be removed"))
	write("noise", []byte("no GGUF"))
	for name, files := range map[string][]string{
		"safetensors": {"m.gguf"}, "remote": {"m.gguf"}, "adapted": {"m.gguf", "a.gguf"}, "qkv": {"qkv.gguf"},
		"cut": {"cut-later"}, "gone": {"gone-later"}, "noise": {"noise"},
	} {
		config := ggufConfig
		switch name {
		case "safetensors":
			config = `{"model_format":"safetensors"}`
		case "remote":
			config = `{"model_format":"gguf","remote_host":"https://ollama.com:443"}`
		}
		check(storeModel(dir, name, config, files[0], files[1:]...))
	}
	for file, spoil := range map[string]func(string) error{
		"cut-later":  func(path string) error { return os.Truncate(path, 3) },
		"gone-later": os.Remove,
	} {
		digest, _, err := ollama.Digest(t.Context(), file, nil)
		check(err)
		check(spoil(filepath.Join(dir, "blobs", "sha256-"+digest[len("sha256:"):])))
	}
	library := filepath.Join(dir, "manifests", "registry.ollama.ai", "library")
	write(filepath.Join(library, "manifest", "latest"), []byte(`{"schemaVersion":2,`))
	write(filepath.Join(library, "escape", "latest"), []byte(`{"schemaVersion":2,"config":{"digest":"sha256:../../../../etc/passwd\u001b"}}`))
}
