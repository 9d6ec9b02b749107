package convert

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"qtool/fixtures"
	"qtool/gguf"
	"qtool/internal/sharedtest"
	"qtool/internal/tokenizer"
	"qtool/safetensors"
)

// opened writes a folder of fixtures and opens it.
func opened(t *testing.T, f *fixtures.Folder, maxShardBytes int64) *Model {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tiny-"+strings.ToLower(f.Architecture))
	if err := os.Mkdir(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := f.Write(context.Background(), dir, maxShardBytes); err != nil {
		t.Fatal(err)
	}
	m, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func TestAFolderOfEveryArchitectureConvertsToItsTwin(t *testing.T) {
	if !slices.Equal(fixtures.FolderArchitectures(), Supported()) {
		t.Errorf("fixtures has %v, conversion %v", fixtures.FolderArchitectures(), Supported())
	}
	for i, name := range fixtures.FolderArchitectures() {
		t.Run(name, func(t *testing.T) {
			f := fixtures.TinyFolder(uint64(i), name, fixtures.FolderOptions{})
			m := opened(t, f, int64(i%2)*50_000)
			sameAsTwin(t, m, f.Twin)
			sameKeys(t, m.Metadata(), f.Twin.Metadata())
			sameTokens(t, m.Metadata(), f.Twin.Metadata())
			got, want := logitsOf(t, m), logitsOf(t, f.Twin)
			if _, computed := m.Tensor("rope_freqs.weight"); computed {
				// Conversion has factors in float32, as published files do; the twin's are exact.
				if e := sharedtest.NMSE(got, want); e > 1e-10 {
					t.Errorf("the logits differ: NMSE %g", e)
				}
			} else if !slices.Equal(got, want) {
				t.Errorf("the logits differ: NMSE %g", sharedtest.NMSE(got, want))
			}
		})
	}
}

func TestAFolderConvertsToItsTwinHoweverItIsStored(t *testing.T) {
	for i, name := range fixtures.FolderArchitectures() {
		for _, storage := range []fixtures.Storage{fixtures.StoreBF16, fixtures.StoreF8} {
			if name == "GptOssForCausalLM" && storage == fixtures.StoreF8 {
				continue // it is stored as MXFP4
			}
			f := fixtures.TinyFolder(uint64(i), name, fixtures.FolderOptions{Storage: storage})
			m := opened(t, f, 0)
			sameAsTwin(t, m, f.Twin)
			down, ok := m.Tensor("blk.0.ffn_down.weight")
			if want := map[fixtures.Storage]gguf.Type{fixtures.StoreBF16: gguf.BF16, fixtures.StoreF8: gguf.F32}[storage]; ok && down.Type != want {
				t.Errorf("%s stored in way %d: %s became %v, want %v", name, storage, down.Name, down.Type, want)
			}
		}
	}
}

func TestTheLanguageModelIsFoundWhateverItsPlaceIsCalled(t *testing.T) {
	f := fixtures.TinyFolder(1, "Gemma3ForConditionalGeneration", fixtures.FolderOptions{})
	for _, x := range f.Tensors {
		if rest, ok := strings.CutPrefix(x.Name, "language_model.model."); ok {
			x.Name = "model.language_model." + rest
		} else {
			x.Name = "model." + x.Name
		}
	}
	sameAsTwin(t, opened(t, f, 0), f.Twin)
}

func TestExpertsInTwoTensorsConvertAsThoseByThemselves(t *testing.T) {
	for i, name := range fixtures.FolderArchitectures() {
		f := fixtures.TinyFolder(uint64(i), name, fixtures.FolderOptions{})
		separate := slices.ContainsFunc(f.Tensors, func(x *safetensors.Tensor) bool { return strings.Contains(x.Name, "experts.0.") })
		if !separate && name != "GptOssForCausalLM" {
			continue
		}
		for _, o := range []fixtures.FolderOptions{
			{FusedExperts: true}, {FusedExperts: true, TransposedExperts: true}, {FusedExperts: true, Storage: fixtures.StoreBF16},
			{FusedExperts: true, TransposedExperts: true, Storage: fixtures.StoreBF16}, {FusedExperts: true, Storage: fixtures.StoreF8},
		} {
			f := fixtures.TinyFolder(uint64(i), name, o)
			m := opened(t, f, 0)
			sameAsTwin(t, m, f.Twin)
			for _, x := range m.Tensors() { // also from the middle
				whole, err := x.Bytes()
				if err != nil {
					t.Fatal(err)
				}
				part, from := make([]byte, len(whole)/2), len(whole)/3+1
				if n, err := x.Data.ReadAt(part[:min(len(part), len(whole)-from)], int64(from)); err != nil || !bytes.Equal(part[:n], whole[from:from+n]) {
					t.Errorf("%s, %+v: %s read from the middle differs (%v)", name, o, x.Name, err)
				}
			}
			if o.Storage == fixtures.StoreF32 && !slices.Equal(logitsOf(t, m), logitsOf(t, f.Twin)) {
				t.Errorf("%s, %+v: the logits differ", name, o)
			}
		}
	}
}

// sameAsTwin compares the values of all tensors.
func sameAsTwin(t *testing.T, m, twin gguf.Model) {
	t.Helper()
	if len(m.Tensors()) != len(twin.Tensors()) {
		t.Errorf("%d tensors, the twin has %d", len(m.Tensors()), len(twin.Tensors()))
	}
	for _, want := range twin.Tensors() {
		got, ok := m.Tensor(want.Name)
		if !ok || !gguf.SameShape(got.Shape, want.Shape) {
			t.Fatalf("%s %v became %+v", want.Name, want.Shape, got)
		}
		if want.Type == gguf.MXFP4 {
			a, _ := got.Bytes()
			b, _ := want.Bytes()
			if got.Type != want.Type || !bytes.Equal(a, b) {
				t.Errorf("%s differs, or became %v", want.Name, got.Type)
			}
			continue
		}
		a, b := values(t, m, want.Name), values(t, twin, want.Name)
		if want.Name == "rope_freqs.weight" {
			if e := sharedtest.NMSE(a, b); e > 1e-12 {
				t.Errorf("%s differs: NMSE %g", want.Name, e)
			}
		} else if !slices.Equal(a, b) {
			t.Errorf("%s differs", want.Name)
		}
	}
}

// sameKeys compares the keys of the architecture. Those that say what follows from
// others may be missing.
func sameKeys(t *testing.T, got, want *gguf.Metadata) {
	t.Helper()
	arch, _ := want.Str("general.architecture")
	dim, _ := want.Int(arch + ".embedding_length")
	heads, _ := want.Int(arch + ".attention.head_count")
	usual := map[string]any{"attention.key_length": uint32(dim / heads), "attention.value_length": uint32(dim / heads)}
	width, _ := want.Get(arch + ".attention.key_length")
	for _, kv := range want.All() {
		key, ok := strings.CutPrefix(kv.Key, arch+".")
		if !ok || key == "vocab_size" {
			continue
		}
		if v, ok := got.Get(kv.Key); ok && !reflect.DeepEqual(v, kv.Value) || !ok && usual[key] != kv.Value {
			t.Errorf("%s is %v, the twin has %v", kv.Key, v, kv.Value)
		}
	}
	for _, kv := range got.All() {
		key, ok := strings.CutPrefix(kv.Key, arch+".")
		if _, there := want.Get(kv.Key); ok && !there && kv.Value != usualValue(arch, key, width) {
			t.Errorf("%s is %v, the twin does not have it", kv.Key, kv.Value)
		}
	}
}

// usualValue is what a key means that is not there.
func usualValue(arch, key string, headWidth any) any {
	switch key {
	case "rope.dimension_count":
		return headWidth
	case "rope.freq_base", "rope.freq_base_swa":
		return float32(10000)
	case "expert_gating_func":
		return map[string]any{"glm4moe": uint32(2)}[arch]
	case "leading_dense_block_count", "expert_shared_count":
		return uint32(0)
	case "expert_group_count", "expert_group_used_count":
		return uint32(1)
	case "rope.scaling.yarn_beta_fast":
		return float32(32)
	case "rope.scaling.yarn_beta_slow":
		return float32(1)
	}
	return nil
}

// sameTokens compares what text becomes.
func sameTokens(t *testing.T, got, want *gguf.Metadata) {
	t.Helper()
	const text = "One day Mia's dog found 1234 pebbles;\n\n  \"Arr!\" said Zoë — and it was 5 o'clock. <|im_start|>"
	var ids [2][]int32
	var vocabs [2]*tokenizer.Vocab
	for i, md := range []*gguf.Metadata{got, want} {
		v, err := tokenizer.VocabFromMetadata(md)
		if err != nil {
			t.Fatal(err)
		}
		tok, err := tokenizer.New(v)
		if err != nil {
			t.Fatal(err)
		}
		ids[i], vocabs[i] = tok.Encode(text, tokenizer.EncodeOptions{AddSpecial: true, ParseSpecial: true}), v
	}
	if !slices.Equal(ids[0], ids[1]) {
		t.Errorf("text becomes %v, by the twin %v", ids[0], ids[1])
	}
	a, b := vocabs[0], vocabs[1]
	if a.UNK != tokenizer.None && a.Types[a.UNK] == tokenizer.Control && b.Types[a.UNK] == tokenizer.Unknown {
		a.Types[a.UNK] = tokenizer.Unknown // an added token that is special is a control token, as llama.cpp has it
	}
	if !slices.Equal(a.Tokens, b.Tokens) || !slices.Equal(a.Types, b.Types) || a.BOS != b.BOS || a.EOS != b.EOS || a.ChatTemplate != b.ChatTemplate {
		t.Error("the vocabularies differ")
	}
}
