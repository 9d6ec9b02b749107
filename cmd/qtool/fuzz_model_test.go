package main

import (
	"strings"
	"sync"
	"testing"

	"qtool/fixtures"
	"qtool/gguf"
)

const fuzzText = "All work and no play makes Jack a dull boy. All work and no play makes Jack a dull boy.\n"

// fuzzIDs is data for models without a vocabulary.
const fuzzIDs = `{"input_ids":[5,9,33,2,60,7,7,1,12,48,5,9,33,2,60,7,31,1,12,48]}` + "\n"

// fuzzModels are a tiny model of every family, and some of llama: with a vocabulary,
// quantized, with experts.
var fuzzModels = sync.OnceValue(func() (models []gguf.Model) {
	models = []gguf.Model{
		tiny(fixtures.Shape{Untied: true}), tiny(fixtures.Shape{Layers: 3, Biases: true, RopeFreqs: true}), tiny(fixtures.Shape{Experts: 4}),
	}
	for _, name := range fixtures.Families() {
		models = append(models, fixtures.TinyFamily(1, name))
	}
	return models
})

// quantizedModels are those of fuzzModels as Q8_0 and as a mix of smaller types.
func quantizedModels(t testing.TB) (models []*forged) {
	for i, typ := range []string{"Q8_0", "Q4_0", "IQ4_NL"} {
		m := fuzzModels()[i]
		b := produced(t, "quantize --type "+typ+" --threads 1 IN/m.gguf OUT/m.gguf", func(s *scene) { s.put("m.gguf", encoded(m)) })["m.gguf"]
		models = append(models, takenApart(t, b))
	}
	return models
}

// fuzzModelFile runs commands on models that were tampered with. Seeds are made of the
// first operations.
func fuzzModelFile(f *testing.F, operations int, commands []string) {
	seeds := quantizedModels(f)
	for _, m := range fuzzModels() {
		seeds = append(seeds, forge(m))
	}
	addPrograms(f, len(seeds), len(commands), operations)
	f.Fuzz(func(t *testing.T, seed, command byte, edits []byte) {
		s := newScene(t)
		m := seeds[int(seed)%len(seeds)]
		s.put("m.gguf", (&program{edits}).tampered(m.clone()))
		s.put("seed.gguf", m.bytes())
		s.put("text.txt", []byte(fuzzText))
		s.put("ids.jsonl", []byte(fuzzIDs))
		s.run(commands[int(command)%len(commands)])
	})
}

func FuzzReportsOnModels(f *testing.F) {
	fuzzModelFile(f, forgeries+1, []string{
		"inspect IN/m.gguf",
		"inspect --all IN/m.gguf",
		"inspect --json IN/m.gguf",
		"verify --threads 1 IN/m.gguf",
		"tokenize IN/m.gguf Hello,\u00a0world<0x41>",
		"diff --threads 1 IN/seed.gguf IN/m.gguf",
		"diff --threads 1 --strict IN/m.gguf IN/m.gguf",
		"quantize --dry-run --type Q4_K_M --allow-requantize IN/m.gguf",
		"split --max-tensors 3 IN/m.gguf OUT/m",
		"split --max-size 20K --dry-run IN/m.gguf OUT/m",
		"join IN/m.gguf OUT/m.gguf",
	})
}

func FuzzQuantizeOfModels(f *testing.F) {
	commands := []string{
		"--type COPY --prune-layers 0",
		"--type COPY --keep-split",
		"--type F16 --split-max-size 20K",
		"--type Q8_0 --override-kv llama.block_count=int:4294967295 --prune-layers 1",
		"--type Q8_0 --override-kv general.architecture=str:qwen3moe --override-kv general.alignment=int:64",
		"--type Q4_K_M --prune-layers 1",
		"--type Q4_0 --pure --leave-output-tensor",
		"--type IQ4_NL --tensor-type ffn=Q5_1",
		"--type IQ3_S --output-tensor-type Q6_K",
		"--type TQ1_0",
		"--target-bpw 6",
		"--target-bpw 5 --prune-layers 0",
		"--target-size 40K --target-types Q4_0,Q8_0,F16",
		"--target-bpw 6 --calibration IN/text.txt --calibration-tokens 24",
	}
	for i, c := range commands {
		commands[i] = "quantize --threads 1 --allow-requantize " + c + " IN/m.gguf OUT/m.gguf"
	}
	fuzzModelFile(f, forgeries+1, commands)
}

func FuzzComputingOnModels(f *testing.F) {
	fuzzModelFile(f, forgeries+1, []string{
		"generate --threads 1 IN/m.gguf --prompt a -n 2",
		"generate --threads 1 IN/m.gguf --prompt a -n 2 --temperature 0 --repeat-penalty 2",
		"logits --threads 1 IN/m.gguf --tokens 1,2,3,4,5,6,7,8 -o OUT/l.npy",
		"perplexity --threads 1 IN/m.gguf --data IN/text.txt -c 16",
		"perplexity --threads 1 IN/seed.gguf --baseline IN/m.gguf --data IN/text.txt -c 16",
		"imatrix --threads 1 IN/m.gguf --data IN/text.txt -c 16 -o OUT/i.gguf --process-output",
		"imatrix --threads 1 IN/m.gguf --data IN/text.txt -c 8 -o OUT/i.dat",
		"chat --threads 1 IN/m.gguf -n 2", "generate --threads 1 IN/m.gguf --chat --system x --prompt a -n 2",
	})
}

func FuzzTrainingOnModels(f *testing.F) {
	const tuned = "finetune --threads 1 --model IN/m.gguf --steps 1 --seq 16 --rank 2 "
	commands := []string{
		tuned + "--data IN/text.txt --truncate --adapter OUT/a.gguf",
		tuned + "--data IN/ids.jsonl --truncate --adapter OUT/a.gguf",
		tuned + "--data IN/ids.jsonl --truncate --adapter OUT/a.gguf --checkpointing --targets experts,attention --experts top:1",
		strings.Replace(tuned, " --rank 2", "", 1) + "--data IN/text.txt --full OUT/m.gguf",
		strings.Replace(tuned, " --rank 2", "", 1) + "--data IN/ids.jsonl --truncate --full OUT/m.gguf",
	}
	fuzzModelFile(f, forgeries+1, commands)
}

// Every plan measures this machine, which takes most of its time.
func FuzzPlansOnModels(f *testing.F) {
	fuzzModelFile(f, 0, []string{
		"finetune --threads 1 --model IN/m.gguf --plan-only --seq 16 --adapter OUT/a.gguf",
		"finetune --threads 1 --model IN/m.gguf --plan-only --seq 16 --full OUT/m.gguf",
	})
}
