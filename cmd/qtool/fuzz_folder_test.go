package main

import (
	"context"
	"path/filepath"
	"slices"
	"testing"

	"maps"

	"qtool/fixtures"
)

// folderSeeds are Hugging Face folders of every architecture, by the names of their
// files, in turn with weights of every storage, in one file and in shards.
func folderSeeds(t testing.TB) (seeds []map[string][]byte) {
	for i, name := range fixtures.FolderArchitectures() {
		dir := t.TempDir()
		var shard int64
		if i%4 == 3 {
			shard = 30_000
		}
		o := fixtures.FolderOptions{Storage: []fixtures.Storage{fixtures.StoreF32, fixtures.StoreBF16, fixtures.StoreF8}[i%3]}
		if err := fixtures.TinyFolder(1, name, o).Write(context.Background(), dir, shard); err != nil {
			t.Fatal(err)
		}
		seeds = append(seeds, filesIn(t, dir))
	}
	return seeds
}

func FuzzCommandsOnFolders(f *testing.F) {
	seeds := folderSeeds(f)
	commands := []string{
		"inspect IN/hf",
		"verify --threads 1 IN/hf",
		"quantize --threads 1 --type Q8_0 IN/hf OUT/m.gguf",
		"quantize --threads 1 --type F16 IN/hf OUT/m.gguf",
		"quantize --dry-run --type Q4_K_M IN/hf",
		"quantize --threads 1 --target-bpw 6 --pre gpt-2 IN/hf OUT/m.gguf",
		"tokenize IN/hf Hello,world",
		"diff --threads 1 IN/hf IN/hf",
		"generate --threads 1 IN/hf --prompt a -n 2",
		"logits --threads 1 IN/hf --tokens 1,2,3 -o OUT/l.npy",
		"finetune --threads 1 --model IN/hf --data IN/ids.jsonl --truncate --steps 1 --seq 16 --rank 2 --adapter OUT/a.gguf",
	}
	addPrograms(f, len(seeds), len(commands), jsonChanges+1)
	f.Fuzz(func(t *testing.T, seed, command byte, edits []byte) {
		s, p := newScene(t), &program{edits}
		files := maps.Clone(seeds[int(seed)%len(seeds)])
		if p.more() {
			name := one(p, slices.Sorted(maps.Keys(files)))
			switch filepath.Ext(name) {
			case ".safetensors":
				files[name] = p.tamperedSafetensors(files[name])
			case ".json":
				files[name] = p.tamperedJSON(files[name])
			default:
				files[name] = p.rawAll(files[name])
			}
		}
		for name, b := range files {
			s.put("hf/"+name, b)
		}
		s.put("ids.jsonl", []byte(fuzzIDs))
		s.run(commands[int(command)%len(commands)])
	})
}
