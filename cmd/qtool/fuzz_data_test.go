package main

import (
	"strings"
	"testing"

	"qtool/fixtures"
)

// dataSeeds are data in every form, by the name that tells which one it is.
var dataSeeds = []struct{ name, content string }{
	{"d.txt", fuzzText},
	{"d.jsonl", `{"text":"All work and no play."}` + "\n" + `{"text":"h\u00e9llo \ud83d\ude00"}` + "\n"},
	{"d.jsonl", `{"prompt":"What?","completion":"That."}` + "\n" + `{"prompt":"Who?","completion":"Jack."}` + "\n"},
	{"d.jsonl", `{"messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"Hi"},{"role":"assistant","content":"Ho"}]}` + "\n"},
	{"d.jsonl", `{"input_ids":[5,9,33,2,60,7],"labels":[-100,-100,33,2,60,7]}` + "\n" + fuzzIDs},
	{"d.json", `[{"text":"All work"},{"text":"no play"}]` + "\n"},
}

func FuzzCommandsOnData(f *testing.F) {
	model := encoded(tiny(fixtures.Shape{Layers: 1}))
	const tuned = "finetune --threads 1 --model IN/m.gguf --steps 1 --seq 16 --rank 2 --adapter OUT/a.gguf --data DATA "
	commands := []string{
		tuned,
		tuned + "--truncate --no-packing",
		tuned + "--split-text --truncate --eval-split 0.5",
		tuned + "--truncate --text-field text --prompt-field prompt --completion-field completion",
		"perplexity --threads 1 IN/m.gguf --data DATA -c 16",
		"imatrix --threads 1 IN/m.gguf --data DATA -c 16 -o OUT/i.gguf --parse-special",
		"quantize --threads 1 --target-bpw 6 --calibration DATA --calibration-tokens 24 IN/m.gguf OUT/q.gguf",
		"logits --threads 1 IN/m.gguf --tokens @DATA -o OUT/l.npy",
		"quantize --threads 1 --type Q8_0 --tensor-type-file DATA IN/m.gguf OUT/q.gguf",
		strings.ReplaceAll(tuned, "--data DATA", "--data IN/folder"),
	}
	addPrograms(f, len(dataSeeds), len(commands), jsonChanges+1)
	f.Fuzz(func(t *testing.T, seed, command byte, edits []byte) {
		s, d := newScene(t), dataSeeds[int(seed)%len(dataSeeds)]
		b := (&program{edits}).tamperedData([]byte(d.content))
		s.put("m.gguf", model)
		s.put(d.name, b)
		s.put("folder/train.jsonl", b)
		s.put("folder/valid.jsonl", []byte(d.content))
		s.run(strings.ReplaceAll(commands[int(command)%len(commands)], "DATA", "IN/"+d.name))
	})
}

// tamperedData makes changes in one line, as JSON, or in all bytes.
func (p *program) tamperedData(b []byte) []byte {
	lines := strings.SplitAfter(string(b), "\n")
	if i := p.pick(len(lines) + 1); i < len(lines) && strings.HasPrefix(lines[i], "{") {
		lines[i] = string(p.tamperedJSON([]byte(lines[i]))) + "\n"
		return []byte(strings.Join(lines, ""))
	}
	return p.rawAll(b)
}
