package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"qtool/gguf"
)

// judge fails the test if a file that may be bad led to anything but a result, or a
// refusal of one line that blames the file (3), says that it is not supported (4), or
// that it does not fit another (5).
func judge(t *testing.T, what, line string, o outcome) {
	t.Helper()
	switch o.code {
	case exitDone, exitInvalid, exitUnsupported, exitMismatch:
	default:
		t.Errorf("%s: qtool %s: exit code %d: %s", what, line, o.code, o.stderr)
		return
	}
	if n := strings.Count(o.stderr, "qtool: "); o.code != exitDone && (n != 1 || !strings.Contains(o.stderr, "\n")) {
		t.Errorf("%s: qtool %s: expected one line of error, got %q", what, line, o.stderr)
	}
}

// ofOtherType lists values that a key with the value v should not have.
func ofOtherType(v gguf.Value) []gguf.Value {
	all := []gguf.Value{"text", uint32(1), float32(0.5), true, []string{"a"}, []uint32{1}, gguf.Arrays{[]uint8{1}}}
	return slices.DeleteFunc(all, func(o gguf.Value) bool { return fmt.Sprintf("%T", o) == fmt.Sprintf("%T", v) })
}

// optionalKeys are keys that commands read where they are there.
var optionalKeys = strings.Fields(`
	general.type general.name general.file_type general.quantization_version
	llama.vocab_size llama.expert_count llama.expert_used_count llama.expert_feed_forward_length llama.expert_gating_func
	llama.expert_weights_scale llama.expert_weights_norm llama.nextn_predict_layers llama.leading_dense_block_count
	llama.attention.key_length llama.attention.value_length llama.attention.sliding_window llama.attention.sliding_window_pattern
	llama.attention.scale llama.attention.causal llama.attention.temperature_scale llama.attention.temperature_length
	llama.rope.dimension_count llama.rope.freq_base llama.rope.scale_linear llama.rope.scaling.type llama.rope.scaling.factor
	llama.rope.scaling.attn_factor llama.rope.scaling.original_context_length llama.rope.scaling.finetuned llama.logit_scale
	llama.residual_scale llama.embedding_scale llama.attn_logit_softcapping llama.final_logit_softcapping
	tokenizer.ggml.pre tokenizer.ggml.scores tokenizer.ggml.token_type tokenizer.ggml.merges tokenizer.ggml.eot_token_id
	tokenizer.ggml.unknown_token_id tokenizer.ggml.padding_token_id tokenizer.ggml.add_bos_token tokenizer.ggml.add_eos_token
	tokenizer.ggml.add_sep_token tokenizer.ggml.add_space_prefix tokenizer.ggml.remove_extra_whitespaces
	tokenizer.ggml.precompiled_charsmap tokenizer.chat_template tokenizer.chat_templates
	adapter.type adapter.lora.alpha adapter.alora.invocation_tokens qtool.merge_only
	qtool.base.architecture qtool.base.name qtool.base.file_type qtool.base.sha256
	imatrix.datasets imatrix.chunk_count imatrix.chunk_size split.no split.count split.tensors.count`)

// spoilKeys writes m to path with each key missing, or of another type, in turn, and
// with each optional key besides that begins with one of prefixes.
func spoilKeys(t *testing.T, source, path string, prefixes []string, each func(what string)) {
	t.Helper()
	f, err := gguf.Open(source, gguf.WithoutMapping())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	write := func(what string, md *gguf.Metadata) {
		if err := gguf.WriteFile(context.Background(), path, gguf.Assemble(md, f.Tensors())); err != nil {
			t.Fatal(err)
		}
		each(what)
	}
	for k, kv := range f.Metadata().All() {
		md := f.Metadata().Clone()
		md.Delete(kv.Key)
		write(kv.Key+" missing", md)
		others := ofOtherType(kv.Value)
		md, v := f.Metadata().Clone(), others[k%len(others)]
		md.Set(kv.Key, v)
		write(fmt.Sprintf("%s as %T", kv.Key, v), md)
	}
	for k, key := range optionalKeys {
		ofThis := slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(key, p) })
		if !ofThis || f.Metadata().Has(key) {
			continue
		}
		all := ofOtherType(nil)
		md, v := f.Metadata().Clone(), all[k%len(all)]
		md.Set(key, v)
		write(fmt.Sprintf("%s as %T", key, v), md)
	}
}

// everyOther is one half of the commands.
func everyOther(commands []string, from int) (half []string) {
	for i := from; i < len(commands); i += 2 {
		half = append(half, commands[i])
	}
	return half
}

func TestMetadataOfAWrongTypeIsNeverAFailureOfTheProgram(t *testing.T) {
	enterWorkshop(t)
	for _, k := range []struct {
		source   string
		commands []string
		prefixes []string
	}{
		{"m.gguf", onModels, []string{"general.", "llama.", "tokenizer.", "split."}},
		{"a.gguf", onAdapters, []string{"general.", "adapter.", "qtool."}},
		{"i.gguf", onMatrices, []string{"general.", "imatrix."}},
	} {
		turn := 0
		spoilKeys(t, k.source, "bad.gguf", k.prefixes, func(what string) {
			commands := k.commands
			if os.Getenv("QTOOL_SOAK") == "" { // every command with every key, by turns missing or of another type
				commands = everyOther(commands, turn%2)
			}
			turn++
			endAll(t, commands, "bad.gguf", func(line string, o outcome) { judge(t, what, line, o) })
		})
	}
}

// damaged is b cut short or with a byte of its beginning changed, and what was done.
func damaged(r *rand.Rand, b []byte) ([]byte, string) {
	if r.IntN(2) == 0 {
		b = b[:r.IntN(len(b))]
		return b, fmt.Sprintf("cut to %d bytes", len(b))
	}
	b = slices.Clone(b)
	at := r.IntN(min(len(b), 3000))
	b[at] ^= byte(1 + r.IntN(255))
	return b, fmt.Sprintf("with byte %d as %#x", at, b[at])
}

func TestADamagedFileIsNeverAFailureOfTheProgram(t *testing.T) {
	enterWorkshop(t)
	const train = "finetune --model m.gguf --data data.jsonl --seq 16 --rank 2 --targets attn_q --adapter out.gguf --run-dir run "
	if o := end(train + "--steps 2 --save-every 1"); o.code != exitDone {
		t.Fatal(o.stderr)
	}
	checkpoints, err := filepath.Glob("run/*.gguf")
	if err != nil || len(checkpoints) == 0 {
		t.Fatalf("no checkpoint: %v", err)
	}
	rounds := 12
	if testing.Short() {
		rounds = 4
	}
	files := map[string][]string{
		"m.gguf": onFiles, "a.gguf": onAdapters, "i.gguf": onMatrices, "i.dat": onMatrices, "data.jsonl": onData, "text.txt": onData,
		"s-00001-of-00002.gguf": {"join % out.gguf", "inspect %", "quantize --keep-split --type COPY % out"},
		"s-00002-of-00002.gguf": {"join s-00001-of-00002.gguf out.gguf", "verify s-00001-of-00002.gguf"},
		checkpoints[0]:          {"inspect %", train + "--steps 2 --save-every 1 --resume"},
	}
	r := rand.New(rand.NewPCG(1, 2))
	for _, path := range slices.Sorted(maps.Keys(files)) {
		good, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for range rounds {
			b, what := damaged(r, good)
			if err := os.WriteFile(path, b, 0o666); err != nil {
				t.Fatal(err)
			}
			endAll(t, files[path], path, func(line string, o outcome) { judge(t, path+" "+what, line, o) })
		}
		if err := os.WriteFile(path, good, 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

// spoilJSON writes the object in the file at path with each field missing, or of
// another type, in turn, and restores it.
func spoilJSON(t *testing.T, path string, each func(what string)) {
	t.Helper()
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	defer os.WriteFile(path, good, 0o666)
	var object map[string]json.RawMessage
	if err := json.Unmarshal(good, &object); err != nil {
		t.Fatal(err)
	}
	keys := make([]string, 0, len(object))
	for key := range object {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for k, key := range keys {
		values := []string{`"text"`, `-1`, `0.5`, `true`, `[]`, `[1]`, `{}`, `{"a":[null]}`, `1e999`}
		for _, v := range []string{"", values[k%len(values)]} {
			changed := map[string]json.RawMessage{}
			for name, old := range object {
				changed[name] = old
			}
			what := key + " as " + v
			if changed[key] = json.RawMessage(v); v == "" {
				delete(changed, key)
				what = key + " missing"
			}
			b, err := json.Marshal(changed)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, b, 0o666); err != nil {
				t.Fatal(err)
			}
			each(filepath.Base(path) + ": " + what)
		}
	}
}

func TestAFieldOfAWrongTypeIsNeverAFailureOfTheProgram(t *testing.T) {
	enterWorkshop(t)
	commands := []string{"inspect %", "quantize --dry-run %", "generate % --prompt one -n 2", "tokenize % one", "verify %"}
	files, err := filepath.Glob("hf/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, path := range files {
		spoilJSON(t, path, func(what string) {
			endAll(t, commands, "hf", func(line string, o outcome) { judge(t, what, line, o) })
		})
	}
}
