package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"qtool/fixtures"
	"qtool/gguf"
	"qtool/internal/arch"
	"qtool/internal/sharedtest"
)

// llama.cpp's own server, where LLAMA_SERVER names it, honours adapters that finetune made:
// one for a model of every family. It computes what qtool computes, with the adapter and,
// when the strength is set to 0, without it.
func TestTheRealLlamaServerHonoursAdaptersOfEveryFamily(t *testing.T) {
	program := os.Getenv("LLAMA_SERVER")
	if program == "" {
		t.Skip("LLAMA_SERVER names no program of llama.cpp, so the real one is not tried")
	}
	models := map[string]gguf.Model{}
	for _, a := range arch.All() {
		if a.Name != "deepseek2" { // without a latent query llama.cpp wants 27 layers
			models[a.Name] = fixtures.TinyFamily(1, a.Name)
		}
	}
	for _, name := range []string{"deepseek2-lite", "deepseek2-v3"} {
		f, err := gguf.Open(sharedtest.Path(t, "golden/archs/"+name+".gguf"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		models[name] = f
	}
	data := familyData(t)
	for name, m := range models {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			base, adapter := filepath.Join(dir, "base.gguf"), filepath.Join(dir, "a.gguf")
			if err := gguf.WriteFile(context.Background(), base, withTokens(t, m)); err != nil {
				t.Fatal(err)
			}
			qtool(t, "finetune", "--model", base, "--data", data, "--adapter", adapter, "--steps", "20", "--rank", "4", "--alpha", "8", "--lr", "5e-3")
			ours := map[float64][]float64{0: lastLogProbs(t, base), 1: lastLogProbs(t, base, "--lora", adapter)}
			s := serveLlama(t, program, base, adapter)
			change := farthest(ours[0], ours[1])
			for _, strength := range []float64{1, 0} {
				s.post("/lora-adapters", []map[string]any{{"id": 0, "scale": strength}}, nil)
				theirs := s.logProbs(len(ours[0]))
				off := farthest(ours[strength], theirs)
				t.Logf("strength %g: log probabilities differ by up to %.2g from llama.cpp's; the adapter changes them by up to %.2g", strength, off, change)
				if off > 0.02 || off > change/8 {
					t.Errorf("strength %g: llama.cpp computes other log probabilities", strength)
				}
			}
		})
	}
}

// askedTokens are those whose successor both programs are asked for.
var askedTokens = []int{5, 9, 33, 2}

// withTokens is m with a vocabulary that llama.cpp loads.
func withTokens(t *testing.T, m gguf.Model) gguf.Model {
	t.Helper()
	md := m.Metadata().Clone()
	var count int
	for _, x := range m.Tensors() {
		if x.Name == "token_embd.weight" {
			count = x.Shape[1]
		}
	}
	tokens, types := []string{"<unk>", "<s>", "</s>", "<|endoftext|>"}, []int32{2, 3, 3, 3}
	for len(tokens) < count {
		tokens, types = append(tokens, fmt.Sprintf("t%d", len(tokens))), append(types, 1)
	}
	md.Set("tokenizer.ggml.model", "llama")
	md.Set("tokenizer.ggml.tokens", tokens)
	md.Set("tokenizer.ggml.scores", make([]float32, count))
	md.Set("tokenizer.ggml.token_type", types)
	md.Set("tokenizer.ggml.bos_token_id", uint32(1))
	md.Set("tokenizer.ggml.eos_token_id", uint32(2))
	return gguf.Assemble(md, m.Tensors())
}

// lastLogProbs are qtool's log probabilities of the tokens that may follow.
func lastLogProbs(t *testing.T, base string, args ...string) []float64 {
	t.Helper()
	path := filepath.Join(t.TempDir(), "l.npy")
	ids := strings.Trim(strings.ReplaceAll(fmt.Sprint(askedTokens), " ", ","), "[]")
	qtool(t, append([]string{"logits", base, "--tokens", ids, "-o", path}, args...)...)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b = b[npyPreamble+int(binary.LittleEndian.Uint16(b[npyPreamble-2:])):]
	last := make([]float32, len(b)/4/len(askedTokens))
	if _, err := binary.Decode(b[len(b)-4*len(last):], binary.LittleEndian, last); err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, l := range last {
		sum += math.Exp(float64(l))
	}
	probs := make([]float64, len(last))
	for i, l := range last {
		probs[i] = float64(l) - math.Log(sum)
	}
	return probs
}

// farthest is the largest difference of two lists, token by token.
func farthest(a, b []float64) (most float64) {
	for i := range a {
		most = max(most, math.Abs(a[i]-b[i]))
	}
	return most
}

// llamaServer is a running llama-server.
type llamaServer struct {
	t   *testing.T
	url string
	log *bytes.Buffer
}

// serveLlama starts a server and waits until it has loaded the model.
func serveLlama(t *testing.T, program, base, adapter string) llamaServer {
	t.Helper()
	address := freeAddress(t)
	host, port, _ := strings.Cut(address, ":")
	s := llamaServer{t, "http://" + address, &bytes.Buffer{}}
	cmd := exec.Command(program, "-m", base, "--lora", adapter, "--host", host, "--port", port, "-c", "128", "-t", "2", "--no-webui",
		"-ctk", "f32", "-ctv", "f32", "--no-warmup")
	cmd.Stdout, cmd.Stderr = s.log, s.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-ended
		if t.Failed() {
			t.Logf("llama-server said:\n%s", s.log)
		}
	})
	for {
		select {
		case <-ended:
			if strings.Contains(s.log.String(), "unknown model architecture") {
				t.Skip("this llama.cpp does not know the architecture")
			}
			t.Fatal("llama-server ended")
		case <-time.After(50 * time.Millisecond):
		}
		if r, err := http.Get(s.url + "/health"); err == nil {
			r.Body.Close()
			if r.StatusCode == http.StatusOK {
				return s
			}
		}
	}
}

func (s llamaServer) post(path string, body, reply any) {
	s.t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		s.t.Fatal(err)
	}
	r, err := http.Post(s.url+path, "application/json", bytes.NewReader(b))
	if err != nil {
		s.t.Fatal(err)
	}
	defer r.Body.Close()
	b, err = io.ReadAll(r.Body)
	if err != nil || r.StatusCode != http.StatusOK {
		s.t.Fatalf("%s: %s: %s, %v", path, r.Status, b, err)
	}
	if reply != nil {
		if err := json.Unmarshal(b, reply); err != nil {
			s.t.Fatalf("%s: %v: %s", path, err, b)
		}
	}
}

// logProbs are llama.cpp's log probabilities of the n tokens of the vocabulary.
func (s llamaServer) logProbs(n int) []float64 {
	s.t.Helper()
	var r struct {
		Probabilities []struct {
			Top []struct {
				ID      int     `json:"id"`
				LogProb float64 `json:"logprob"`
			} `json:"top_logprobs"`
		} `json:"completion_probabilities"`
	}
	s.post("/completion", map[string]any{
		"prompt": askedTokens, "n_predict": 1, "n_probs": n, "temperature": 0, "cache_prompt": false, "ignore_eos": false,
	}, &r)
	probs := make([]float64, n)
	if len(r.Probabilities) == 0 || len(r.Probabilities[0].Top) != n {
		s.t.Fatalf("expected log probabilities of %d tokens, got %+v", n, r)
	}
	for _, p := range r.Probabilities[0].Top {
		probs[p.ID] = p.LogProb
	}
	return probs
}
