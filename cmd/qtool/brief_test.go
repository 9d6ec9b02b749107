package main

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"qtool/fixtures"
)

// brief are short runs of every command, in an order in which each finds the files of
// those before it, and with several threads: what the race detector looks at, on the
// kernels in Go, since it does not see what assembly reads and writes. M, MOE and T are
// a dense model, one with experts, and a text.
var brief = []string{
	"version --cpu",
	"inspect --json M",
	"tokenize M text",
	"verify MOE",
	"imatrix MOE --data T -c 32 --chunks 3 --save-every 1 -o imatrix.gguf",
	"inspect imatrix.gguf",
	"quantize --type Q4_K_M --imatrix imatrix.gguf MOE q4.gguf",
	"quantize --target-bpw 6 --calibration T --calibration-tokens 130 M q6.gguf",
	"diff M q6.gguf",
	"split --max-tensors 8 M part.gguf",
	"join part-00001-of-00002.gguf joined.gguf",
	"generate q4.gguf --prompt a -n 4",
	"perplexity q6.gguf --baseline M --data T --context 32 --chunks 2",
	"logits MOE --tokens 1,2,3 -o logits.npy",
	"data check --model M --data T",
	"data show --model M --data T --json",
	"finetune --plan-only --model M --seq 32",
	"finetune --plan-only --model MOE --seq 32 --checkpointing",
	"finetune --plan-only --model M --full full.gguf --seq 32",
	"finetune --model M --data T --seq 32 --steps 2 --batch 2 --adapter a.gguf --run-dir run --save-every 1 --eval-every 1 --sample a",
	"finetune --model M --data T --seq 32 --steps 2 --batch 2 --adapter a.gguf --run-dir run --resume --save-every 1 --eval-every 1",
	"finetune --model MOE --data T --seq 32 --steps 2 --experts top:2 --router-aux-loss 0.1 --checkpointing --adapter moe.gguf",
	"finetune --model MOE --data T --seq 32 --steps 1 --full full.gguf",
	"generate M --lora a.gguf --lora a.gguf:0.5 --compare --prompt a -n 2",
	"chat M --lora a.gguf --chat-template none -n 2",
	"lora inspect a.gguf --model M",
	"lora inspect --json moe.gguf",
	"lora verify a.gguf:0.5 --model M",
	"lora verify moe.gguf --model MOE --data T --json",
	"lora merge --model M --keep 0.9 --type Q4_0 --check-data T --context 32 --chunks 2 a.gguf a.gguf:-0.5 merged.gguf",
	"lora merge --model MOE --source MOE moe.gguf merged.gguf",
	"lora convert --base MOE moe.gguf peft",
	"lora convert --base MOE --to mlx --outtype bf16 peft mlx",
	"lora resize --rank 2 moe.gguf moe2.gguf",
	"lora combine --method ties --rank 2 moe.gguf moe2.gguf ties.gguf",
	"lora extract --base MOE --tuned merged.gguf --energy 0.9 --rank 2 extracted.gguf",
	"ollama list",
	"ollama create me/x --model M --adapter a.gguf --via store",
	"generate ollama:me/x --prompt a -n 2",
	"bench gemm --tokens 4 --types F32,Q4_0 --time 1ms",
	"bench train --layers 1 --dim 64 --heads 2 --kv-heads 1 --ff 64 --vocab 64 --seq 8 --steps 1",
	"bench train --layers 1 --dim 64 --heads 2 --kv-heads 1 --ff 64 --vocab 64 --seq 8 --steps 1 --forward",
	"bench generate --layers 1 --dim 64 --heads 2 --kv-heads 1 --ff 64 --vocab 64 --context 4 --tokens 2",
	"bench quantize --types Q8_0 --time 1ms",
}

func TestEveryCommandInBrief(t *testing.T) {
	models := map[string]string{
		"M": tinyFile(t, fixtures.Shape{Dim: 256, FF: 256, Layers: 1}), "MOE": tinyFile(t, fixtures.Shape{Dim: 256, FF: 256, Layers: 1, Experts: 4}),
		"T": filepath.Join(t.TempDir(), "text.txt"),
	}
	if err := os.WriteFile(models["T"], bytes.Repeat([]byte("one two three four. "), 40), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	t.Setenv("OLLAMA_MODELS", t.TempDir())
	if err := storeModel(os.Getenv("OLLAMA_MODELS"), "tiny", ggufConfig, models["M"]); err != nil {
		t.Fatal(err)
	}
	commands := newApp(nil, nil, nil).Commands
	left := leaves(commands, "")
	for _, line := range brief {
		args := strings.Fields(line)
		path, command, _, err := findCommand(commands, args)
		if err != nil {
			t.Fatal(err)
		}
		delete(left, strings.Join(path, " "))
		if findFlag(command.Flags, "threads") != nil {
			args = append(args, "--threads", "3")
		}
		for i, arg := range args {
			if path, ok := models[arg]; ok {
				args[i] = path
			}
		}
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), args, strings.NewReader("a\n/lora 0\nb\n"), &stdout, &stderr); code != exitDone {
			t.Errorf("%s: exit code %d\n%s", line, code, stderr.String())
		}
	}
	for name := range left {
		t.Errorf("no brief run of %s", name)
	}
}

// leaves are the names of all commands that have no subcommands.
func leaves(commands []*cli.Command, before string) map[string]bool {
	names := map[string]bool{}
	for _, c := range commands {
		if len(c.Subcommands) > 0 {
			maps.Copy(names, leaves(c.Subcommands, before+c.Name+" "))
			continue
		}
		names[before+c.Name] = true
	}
	return names
}
