package main

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// adapterFolders are an adapter of each of [fuzzBases] as folders of PEFT and mlx-lm, by the names
// of their files.
func adapterFolders(f *testing.F, bases [][]byte) (seeds []map[string][]byte) {
	for _, base := range bases {
		for _, form := range []string{"peft", "mlx"} {
			files := produced(f, "finetune --threads 1 --model IN/m.gguf --data IN/t.txt --steps 2 --lr 1e-2 --seq 16 --rank 2 --adapter OUT/a.gguf", func(s *scene) {
				s.put("m.gguf", base)
				s.put("t.txt", []byte(fuzzText))
			})
			folder := produced(f, "lora convert --base IN/m.gguf --to "+form+" IN/a.gguf OUT/a", func(s *scene) {
				s.put("m.gguf", base)
				s.put("a.gguf", files["a.gguf"])
			})
			seed := map[string][]byte{}
			for name, b := range folder {
				seed[strings.TrimPrefix(filepath.ToSlash(name), "a/")] = b
			}
			seeds = append(seeds, seed)
		}
	}
	return seeds
}

func FuzzCommandsOnAdapterFolders(f *testing.F) {
	bases := fuzzBases()
	seeds := adapterFolders(f, bases)
	commands := []string{
		"lora convert --base IN/m.gguf IN/a OUT/a.gguf",
		"lora convert IN/a OUT/a.gguf",
		"lora convert --base IN/m.gguf --to peft --experts parameters --outtype f16 IN/a OUT/a",
		"lora convert --base IN/m.gguf --to mlx --outtype bf16 --json IN/a OUT/a",
		"lora merge --threads 1 --model IN/m.gguf IN/a OUT/b.gguf",
	}
	addPrograms(f, len(seeds), len(commands), jsonChanges+1)
	f.Fuzz(func(t *testing.T, seed, command byte, edits []byte) {
		i := int(seed) % len(seeds)
		s, p := newScene(t), &program{edits}
		s.put("m.gguf", bases[i/2])
		files := maps.Clone(seeds[i])
		if p.more() {
			name := one(p, slices.Sorted(maps.Keys(files)))
			if filepath.Ext(name) == ".json" {
				files[name] = p.tamperedJSON(files[name])
			} else {
				files[name] = p.tamperedSafetensors(files[name])
			}
		}
		for name, b := range files {
			s.put("a/"+name, b)
		}
		s.run(commands[int(command)%len(commands)])
	})
}
