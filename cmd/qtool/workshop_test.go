package main

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"

	"qtool/fixtures"
	"qtool/gguf"
	"qtool/internal/adapt"
	"qtool/internal/model"
	"qtool/quantize/imatrix"
)

// enterWorkshop makes a folder with a good file of every kind that commands read the
// working directory:
//
//	m.gguf  s-00001-of-00002.gguf  a.gguf  i.gguf  i.dat  hf/
//	data.jsonl  text.txt  ids.txt
//
// Models are of the architecture llama and have a vocabulary.
func enterWorkshop(t *testing.T) {
	t.Helper()
	t.Chdir(t.TempDir())
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ctx := context.Background()
	m := tiny(fixtures.Shape{})
	check(gguf.WriteFile(ctx, "m.gguf", m))
	check(gguf.WriteFile(ctx, "s.gguf", m, gguf.WithSplitTensors(12)))
	writeTinyAdapter(t, m, "a.gguf")
	i := imatrix.New(16)
	i.Chunks, i.Datasets = 1, []string{"text.txt"}
	for _, t := range m.Tensors() {
		if len(t.Shape) == 2 && t.Name != "token_embd.weight" {
			e := &imatrix.Entry{Name: t.Name, Counts: []int64{16}, Sums: make([]float32, t.Shape[0])}
			for k := range e.Sums {
				e.Sums[k] = float32(1 + k%7)
			}
			check(i.Add(e))
		}
	}
	check(i.WriteFile(ctx, "i.gguf", false))
	check(i.WriteFile(ctx, "i.dat", true))
	check(os.Mkdir("hf", 0o777))
	check(fixtures.TinyFolder(1, "LlamaForCausalLM", fixtures.FolderOptions{}).Write(ctx, "hf", 60_000))
	for name, text := range map[string]string{
		"data.jsonl": `{"prompt":"one","completion":" two"}` + "\n" + `{"text":"three four"}` + "\n",
		"text.txt":   strings.Repeat("one two three ", 8), "ids.txt": "1,2,3",
	} {
		check(os.WriteFile(name, []byte(text), 0o666))
	}
}

// writeTinyAdapter writes an adapter on some weights of m, all of whose values are known.
func writeTinyAdapter(t *testing.T, m gguf.Model, path string) {
	t.Helper()
	d, err := model.Load(m, model.Options{})
	if err != nil {
		t.Fatal(err)
	}
	a, err := adapt.New(d, adapt.Config{Rank: 2, Alpha: 4, Targets: []string{"attn_q", "ffn_up"}, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range a.Pairs {
		for i := range p.B.Data {
			p.B.Data[i] = float32(i%3) - 1
		}
	}
	if err := a.WriteFile(context.Background(), path); err != nil {
		t.Fatal(err)
	}
}

// outcome is how a command ended.
type outcome struct {
	code           int
	stdout, stderr string
}

// first is the first line of stderr that is about the error, "" if there is none.
func (o outcome) first() string {
	for line := range strings.Lines(o.stderr) {
		if strings.HasPrefix(line, "qtool: ") {
			return strings.TrimSuffix(line, "\n")
		}
	}
	return ""
}

// end runs a command line, whose words are separated by blanks, to its end.
func end(line string) outcome {
	var out, errs bytes.Buffer
	code := run(context.Background(), strings.Fields(line), strings.NewReader("one two"), &out, &errs)
	return outcome{code, out.String(), errs.String()}
}

// The commands that read a file of some kind, which % stands for. Where they write, it
// is to out, which is removed after each.
var (
	onModels = []string{
		"inspect %", "inspect --json --all %", "verify %", "diff % hf", "diff hf % --json",
		"quantize --dry-run %", "quantize --type Q8_0 % out.gguf", "quantize --type COPY % out.gguf",
		"quantize --prune-layers 1 % out.gguf", "quantize --target-bpw 9 % out.gguf",
		"quantize --target-bpw 9 --calibration text.txt % out.gguf",
		"imatrix % --data text.txt -c 16 -o out.gguf", "generate % --prompt one -n 2", "generate % --prompt one -n 2 --json",
		"generate % --chat --prompt one -n 2", "chat % -n 2", "chat hf --lora % -n 2", "chat % -n 2 --json --chat-template chatml",
		"generate hf --lora % --prompt one -n 2", "perplexity % --data text.txt --context 16",
		"perplexity hf --baseline % --data text.txt --context 16",
		"lora verify --model % a.gguf", "lora inspect --model % a.gguf",
		"lora merge --model % a.gguf out.gguf", "lora merge --model m.gguf --source % --check-data text.txt --context 16 a.gguf out.gguf",
		"lora extract --base % --tuned hf --rank 1 out.gguf", "lora extract --base hf --tuned % --energy 0.5 --rank 1 out.gguf",
		"logits % --tokens 1,2 -o out.npy", "tokenize % one", "tokenize --json % one",
		"finetune --model % --data data.jsonl --steps 1 --seq 16 --rank 2 --targets attn_q --adapter out.gguf",
		"data check --model % --data data.jsonl",
	}
	onFiles    = append([]string{"split --max-tensors 5 % out", "lora convert --base % --to mlx a.gguf out", "quantize --imatrix % hf out.gguf", "imatrix --in-file % -o out.gguf", "ollama create x --model % --modelfile out"}, onModels...)
	onAdapters = []string{
		"inspect %", "inspect --json %", "verify %", "diff % m.gguf", "diff m.gguf %", "quantize --type COPY % out.gguf", "split % out",
		"generate m.gguf --lora % --prompt one -n 2", "generate m.gguf --lora a.gguf --lora %:0.5 --compare --prompt one -n 2", "chat m.gguf --lora %:-1 -n 2", "perplexity m.gguf --lora % --data text.txt --context 16",
		"logits m.gguf --lora % --tokens 1,2 -o out.npy", "lora merge --model m.gguf a.gguf %:0.5 out.gguf",
		"lora merge --model m.gguf --type Q4_0 --check-data text.txt --context 16 % out.gguf",
		"lora verify --model m.gguf %", "lora verify --model m.gguf --json %:0.5", "lora inspect %", "lora inspect --model m.gguf --json %",
		"ollama create x --model m.gguf --adapter % --modelfile out", "lora convert --base m.gguf % out", "lora convert --outtype bf16 % out.gguf",
		"lora resize --rank 2 % out.gguf", "lora resize --energy 0.5 % out.gguf",
		"lora combine --method ties --rank 1 a.gguf %:0.5 out.gguf", "lora combine --method linear % a.gguf out.gguf",
		"finetune --model m.gguf --data data.jsonl --steps 1 --seq 16 --init-adapter % --adapter out.gguf",
	}
	onMatrices = []string{
		"inspect %", "inspect --all %", "inspect --json %", "verify %", "diff % m.gguf", "imatrix --in-file % -o out.gguf",
		"quantize --imatrix % m.gguf out.gguf", "quantize --imatrix % --type IQ2_XXS --dry-run m.gguf",
		"lora merge --model m.gguf --type Q4_0 --imatrix % a.gguf out.gguf",
	}
	onData = []string{
		"finetune --model m.gguf --data % --steps 1 --seq 16 --rank 2 --targets attn_q --adapter out.gguf",
		"imatrix m.gguf --data % -c 16 -o out.gguf", "perplexity m.gguf --data % --context 16",
		"lora merge --model m.gguf --check-data % --context 16 a.gguf out.gguf",
		"lora verify --model m.gguf --data % a.gguf",
		"data check --model m.gguf --data % --seq 16", "data show --model m.gguf --data % --json",
	}
)

// endAll runs commands on the file at path and gives check how each ended.
func endAll(t *testing.T, commands []string, path string, check func(line string, o outcome)) {
	t.Helper()
	for _, c := range commands {
		line := strings.ReplaceAll(c, "%", path)
		check(line, end(line))
		clean(t)
	}
}

// clean removes what a command has written.
func clean(t *testing.T) {
	t.Helper()
	for _, out := range []string{"out.gguf", "out.npy", "out", "out.gguf.progress"} {
		if err := os.RemoveAll(out); err != nil {
			t.Fatal(err)
		}
	}
}
