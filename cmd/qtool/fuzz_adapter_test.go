package main

import (
	"testing"

	"qtool/fixtures"
)

// fuzzBases are the models that adapters and importance matrices are for.
func fuzzBases() [][]byte {
	return [][]byte{encoded(tiny(fixtures.Shape{Untied: true})), encoded(tiny(fixtures.Shape{Experts: 4}))}
}

func FuzzCommandsOnAdapters(f *testing.F) {
	bases := fuzzBases()
	var seeds []*forged
	for _, base := range bases {
		seeds = append(seeds, takenApart(f, produced(f, "finetune --threads 1 --model IN/m.gguf --data IN/t.txt --steps 2 --lr 1e-2 --seq 16 --rank 2 --adapter OUT/a.gguf", func(s *scene) {
			s.put("m.gguf", base)
			s.put("t.txt", []byte(fuzzText))
		})["a.gguf"]))
	}
	commands := []string{
		"inspect IN/a.gguf",
		"inspect --all --json IN/a.gguf",
		"verify --threads 1 IN/a.gguf",
		"diff --threads 1 IN/a.gguf IN/seed.gguf",
		"generate --threads 1 IN/m.gguf --lora IN/a.gguf --prompt a -n 2",
		"logits --threads 1 IN/m.gguf --lora IN/a.gguf --tokens 1,2,3 -o OUT/l.npy",
		"perplexity --threads 1 IN/m.gguf --lora IN/a.gguf --data IN/t.txt -c 16",
		"finetune --threads 1 --model IN/m.gguf --init-adapter IN/a.gguf --data IN/t.txt --steps 1 --seq 16 --adapter OUT/b.gguf",
		"finetune --threads 1 --model IN/a.gguf --data IN/t.txt --steps 1 --seq 16 --adapter OUT/b.gguf",
		"quantize --threads 1 --type Q8_0 IN/a.gguf OUT/b.gguf",
		"lora merge --threads 1 --model IN/m.gguf IN/a.gguf IN/seed.gguf:2 OUT/b.gguf",
		"lora convert --base IN/m.gguf IN/a.gguf OUT/peft",
		"lora convert --base IN/m.gguf --to mlx --outtype f16 IN/a.gguf OUT/mlx",
		"lora resize --threads 1 --energy 0.5 IN/a.gguf OUT/b.gguf",
		"lora resize --threads 1 --rank 3 IN/a.gguf OUT/b.gguf",
		"lora combine --threads 1 --method ties IN/a.gguf IN/seed.gguf:-2 OUT/b.gguf",
		"lora combine --threads 1 --method linear IN/a.gguf IN/seed.gguf OUT/b.gguf",
		"lora merge --threads 1 --model IN/m.gguf --type Q4_0 --keep 0.5 --check-data IN/t.txt -c 16 IN/a.gguf OUT/b.gguf",
		"lora verify --threads 1 --model IN/m.gguf IN/a.gguf:0.5",
		"lora verify --threads 1 --json --model IN/m.gguf --prompt a IN/a.gguf",
		"lora inspect --threads 1 --model IN/m.gguf IN/a.gguf",
		"lora inspect --threads 1 --all --json IN/a.gguf",
		"generate --threads 1 IN/m.gguf --lora IN/a.gguf --lora IN/a.gguf:-0.5 --compare --chat --prompt a -n 2",
	}
	addPrograms(f, len(seeds), len(commands), forgeries+1)
	f.Fuzz(func(t *testing.T, seed, command byte, edits []byte) {
		i := int(seed) % len(seeds)
		s := newScene(t)
		s.put("m.gguf", bases[i])
		s.put("seed.gguf", seeds[i].bytes())
		s.put("a.gguf", (&program{edits}).tampered(seeds[i].clone()))
		s.put("t.txt", []byte(fuzzText))
		s.run(commands[int(command)%len(commands)])
	})
}

func FuzzCommandsOnImportance(f *testing.F) {
	bases := fuzzBases()
	var seeds []*forged
	var legacy [][]byte
	for _, base := range bases {
		for _, form := range []string{"i.gguf", "i.dat"} {
			b := produced(f, "imatrix --threads 1 IN/m.gguf --data IN/t.txt -c 8 -o OUT/"+form, func(s *scene) {
				s.put("m.gguf", base)
				s.put("t.txt", []byte(fuzzText))
			})[form]
			if form == "i.gguf" {
				seeds = append(seeds, takenApart(f, b))
			} else {
				legacy = append(legacy, b)
			}
		}
	}
	commands := []string{
		"inspect IN/i.gguf",
		"inspect --json IN/i.gguf",
		"verify --threads 1 IN/i.gguf",
		"imatrix --threads 1 --in-file IN/i.gguf --in-file IN/i.gguf -o OUT/sum.gguf",
		"imatrix --threads 1 --in-file IN/i.gguf -o OUT/sum.dat",
		"quantize --threads 1 --type Q4_K_M --imatrix IN/i.gguf IN/m.gguf OUT/q.gguf",
		"quantize --threads 1 --type IQ4_NL --include-weights ffn --imatrix IN/i.gguf IN/m.gguf OUT/q.gguf",
		"quantize --threads 1 --target-bpw 6 --imatrix IN/i.gguf IN/m.gguf OUT/q.gguf",
		"imatrix --threads 1 IN/m.gguf --data IN/t.txt -c 8 --in-file IN/i.gguf -o OUT/sum.gguf",
	}
	addPrograms(f, 2*len(seeds), len(commands), forgeries+1)
	f.Fuzz(func(t *testing.T, seed, command byte, edits []byte) {
		i := int(seed) % len(seeds)
		s := newScene(t)
		s.put("m.gguf", bases[i])
		s.put("t.txt", []byte(fuzzText))
		p := &program{edits}
		if int(seed)%(2*len(seeds)) < len(seeds) {
			s.put("i.gguf", p.tampered(seeds[i].clone()))
		} else {
			s.put("i.gguf", p.rawAll(legacy[i]))
		}
		s.run(commands[int(command)%len(commands)])
	})
}
