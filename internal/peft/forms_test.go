package peft

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"qtool/fixtures"
	"qtool/gguf"
	"qtool/internal/convert"
	"qtool/internal/half"
	"qtool/safetensors"
)

// torchFile is what torch.save makes of tensors in F32: a pickle of protocol 2 in a zip.
func torchFile(t *testing.T, tensors []*safetensors.Tensor) []byte {
	t.Helper()
	var p bytes.Buffer
	str := func(s string) {
		p.WriteByte('X')
		binary.Write(&p, binary.LittleEndian, uint32(len(s)))
		p.WriteString(s)
	}
	integer := func(n int) {
		p.WriteByte('J')
		binary.Write(&p, binary.LittleEndian, int32(n))
	}
	var file bytes.Buffer
	z := zip.NewWriter(&file)
	put := func(name string, b []byte) {
		w, err := z.CreateHeader(&zip.FileHeader{Name: "adapter_model/" + name, Method: zip.Store})
		if err != nil {
			t.Fatal(err)
		}
		w.Write(b)
	}
	p.WriteString("\x80\x02ccollections\nOrderedDict\n)R(")
	for i, x := range tensors {
		str(x.Name)
		p.WriteString("ctorch._utils\n_rebuild_tensor_v2\n((")
		str("storage")
		p.WriteString("ctorch\nFloatStorage\n")
		str(string(rune('a' + i)))
		str("cuda:0")
		integer(elements(x.Shape))
		p.WriteString("tQK\x00(")
		for _, n := range x.Shape {
			integer(n)
		}
		p.WriteString("t(")
		integer(x.Shape[1])
		p.WriteString("K\x01t\x89ccollections\nOrderedDict\n)RtR")
		b, err := x.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		put("data/"+string(rune('a'+i)), b)
	}
	p.WriteString("u.")
	put("data.pkl", p.Bytes())
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

func TestWeightsOfTorchAreThoseOfSafetensors(t *testing.T) {
	l := layoutOf(t, written(t, fixtures.TinyFolder(1, "Qwen3ForCausalLM", fixtures.FolderOptions{})))
	want := randomAdapter(l, 2, func(name string) bool { return strings.HasPrefix(name, "blk.0.attn_") })
	p, err := FromGGUF(l, want, Options{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := p.Write(context.Background(), dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, peftWeights)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, torchWeights), torchFile(t, p.Tensors), 0o666); err != nil {
		t.Fatal(err)
	}
	read, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	got, err := ToGGUF(l, read, nil)
	if err != nil {
		t.Fatal(err)
	}
	sameAdapter(t, "from "+torchWeights, got, want)
}

func TestExpertsComeBackFromParametersToo(t *testing.T) {
	for _, name := range []string{"MixtralForCausalLM", "Qwen2MoeForCausalLM", "Qwen3MoeForCausalLM", "OlmoeForCausalLM", "Glm4MoeForCausalLM", "DeepseekV3ForCausalLM", "BailingMoeV2ForCausalLM"} {
		l := layoutOf(t, written(t, fixtures.TinyFolder(1, name, fixtures.FolderOptions{})))
		want, r := randomAdapter(l, 3, everything), &Report{}
		p, err := FromGGUF(l, want, Options{Parameters: true}, r)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		parameters, _ := p.Config["target_parameters"].([]string)
		if !slices.ContainsFunc(parameters, func(s string) bool { return strings.HasSuffix(s, ".mlp.experts.gate_up_proj") }) || len(r.Joined) == 0 || len(r.Folded) > 0 {
			t.Errorf("%s: target_parameters %v, %+v", name, parameters, r)
		}
		got, err := ToGGUF(l, &Adapter{Config: reread(p.Config), Tensors: p.Tensors}, nil)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		sameAdapter(t, name, got, want)
	}
}

func TestRankStabilizedScalesLeaveTheFactorsAsTheyAre(t *testing.T) {
	l := layoutOf(t, written(t, fixtures.TinyFolder(1, "Qwen3ForCausalLM", fixtures.FolderOptions{})))
	p := onModules(map[string]any{"peft_type": "LORA", "r": 3, "lora_alpha": 5, "use_rslora": true}, 3, map[string][2]int{
		"model.layers.0.self_attn.q_proj": {32, 48}, "model.layers.1.self_attn.v_proj": {32, 24},
	})
	r := &Report{}
	m, err := ToGGUF(l, p, r)
	if err != nil || len(r.Folded) > 0 || r.Pairs != 2 {
		t.Fatal(r, err)
	}
	if got, want := changeOf(t, m, "blk.0.attn_q.weight"), 3*5/math.Sqrt(3); math.Abs(got-want) > 1e-6 {
		t.Errorf("it changes by %g, want %g", got, want)
	}
	if b := values(t, m, "blk.0.attn_q.weight.lora_b"); slices.Max(b) != 1 || slices.Min(b) != 1 {
		t.Errorf("B is %v", b)
	}
}

func TestAFoldedScaleIsTold(t *testing.T) {
	l := layoutOf(t, written(t, fixtures.TinyFolder(1, "Qwen3ForCausalLM", fixtures.FolderOptions{})))
	p := onModules(map[string]any{"peft_type": "LORA", "r": 4, "lora_alpha": 8, "alpha_pattern": map[string]any{"v_proj": 2}}, 4, map[string][2]int{
		"model.layers.0.self_attn.q_proj": {32, 48}, "model.layers.1.self_attn.q_proj": {32, 48}, "model.layers.1.self_attn.v_proj": {32, 24},
	})
	r := &Report{}
	if _, err := ToGGUF(l, p, r); err != nil || len(r.Folded) != 1 || r.Folded[0] != (Folded{"blk.1.attn_v.weight", 0.25}) {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestAScaleOfOneForEveryRankNeedsNoFolding(t *testing.T) {
	l := layoutOf(t, written(t, fixtures.TinyFolder(1, "Qwen3ForCausalLM", fixtures.FolderOptions{})))
	a := randomAdapter(l, 3, func(name string) bool { return strings.HasSuffix(name, "attn_q.weight") })
	b := randomAdapter(l, 2, func(name string) bool { return strings.HasSuffix(name, "attn_v.weight") })
	md := a.Metadata().Clone()
	md.Set(keyAlpha, float32(0))
	want := gguf.Assemble(md, append(slices.Clone(a.Tensors()), b.Tensors()...))
	for _, form := range []Form{PEFT, MLX} {
		r := &Report{}
		p, err := FromGGUF(l, want, Options{Form: form}, r)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ToGGUF(l, &Adapter{Form: form, Config: reread(p.Config), Tensors: p.Tensors}, r)
		if err != nil || len(r.Folded) > 0 {
			t.Fatal(r, err)
		}
		sameAdapter(t, form.String(), got, want)
	}
}

func TestFanInFanOutChangesNoFactor(t *testing.T) {
	l := layoutOf(t, written(t, fixtures.TinyFolder(1, "Qwen3ForCausalLM", fixtures.FolderOptions{})))
	modules := map[string][2]int{"model.layers.0.self_attn.q_proj": {32, 48}}
	plain, err := ToGGUF(l, onModules(map[string]any{"peft_type": "LORA", "lora_alpha": 8}, 2, modules), nil)
	if err != nil {
		t.Fatal(err)
	}
	turned, err := ToGGUF(l, onModules(map[string]any{"peft_type": "LORA", "lora_alpha": 8, "fan_in_fan_out": true}, 2, modules), nil)
	if err != nil {
		t.Fatal(err)
	}
	sameAdapter(t, "fan_in_fan_out", turned, plain)
}

func TestHalvesAreStoredAsAskedForAndWhatIsRoundedIsTold(t *testing.T) {
	l := layoutOf(t, written(t, fixtures.TinyFolder(1, "Qwen3ForCausalLM", fixtures.FolderOptions{})))
	a := randomAdapter(l, 2, func(name string) bool { return name == "blk.0.attn_q.weight" })
	for typ, round := range map[gguf.Type]func(float32) float32{
		gguf.F16:  func(x float32) float32 { return half.FromFloat16(half.ToFloat16(x)) },
		gguf.BF16: func(x float32) float32 { return half.FromBFloat16(half.ToBFloat16(x)) },
	} {
		r := &Report{}
		narrow, err := Narrow(a, typ, r)
		if err != nil {
			t.Fatal(err)
		}
		changed := 0
		for _, x := range a.Tensors() {
			was, got := values(t, a, x.Name), values(t, narrow, x.Name)
			for i, v := range was {
				if got[i] != round(v) {
					t.Fatalf("%v: %g became %g", typ, v, got[i])
				}
				if got[i] != v {
					changed++
				}
			}
		}
		if changed == 0 || r.Rounded != changed {
			t.Errorf("%v: %d values changed, %d are told", typ, changed, r.Rounded)
		}
		// What is rounded already stays so, there and back.
		for _, form := range []Form{PEFT, MLX} {
			r := &Report{}
			p, err := FromGGUF(l, narrow, Options{Form: form, Type: typ}, r)
			if err != nil || r.Rounded > 0 || p.Tensors[0].DType != narrowDTypes[typ] {
				t.Fatal(r, err)
			}
			wide, err := ToGGUF(l, &Adapter{Form: form, Config: reread(p.Config), Tensors: p.Tensors}, nil)
			if err != nil {
				t.Fatal(err)
			}
			back, err := Narrow(wide, typ, r)
			if err != nil {
				t.Fatal(err)
			}
			sameAdapter(t, form.String(), back, narrow)
		}
	}
	big := gguf.Assemble(a.Metadata(), []*gguf.Tensor{gguf.Float32Tensor("x.lora_a", []int{1}, []float32{1e6})})
	if _, err := Narrow(big, gguf.F16, &Report{}); !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), "1e+06") {
		t.Error(err)
	}
}

func TestMetadataOfTheAdapterComeBackFromAFolder(t *testing.T) {
	l := layoutOf(t, written(t, fixtures.TinyFolder(1, "Qwen3ForCausalLM", fixtures.FolderOptions{})))
	a := randomAdapter(l, 2, everything)
	md := a.Metadata().Clone()
	md.Set("general.name", "mine")
	md.Set("qtool.base.sha256", "abc")
	md.Set("qtool.base.file_type", uint32(15))
	md.Set("qtool.losses", []float32{1, 0.5})
	md.Set(keyBaseURL, hub+"Qwen/Qwen3-8B")
	md.Set(keyBaseCount, uint32(1))
	p, err := FromGGUF(l, gguf.Assemble(md, a.Tensors()), Options{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if name := p.BaseModel(); name != "Qwen/Qwen3-8B" {
		t.Errorf("the folder is for %q", name)
	}
	p.Config = reread(p.Config)
	if name, err := p.Architecture(convert.ArchitectureOf); name != "qwen3" || err != nil {
		t.Errorf("the folder is for architecture %q, %v", name, err)
	}
	back, err := ToGGUF(l, p, nil)
	if err != nil {
		t.Fatal(err)
	}
	sum := func(md *gguf.Metadata) string {
		s, err := md.SHA256(func(string) bool { return true })
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	if sum(back.Metadata()) != sum(md) {
		t.Errorf("metadata are %v, were %v", back.Metadata().All(), md.All())
	}
	// Metadata of another model, or that somebody tampered with.
	other := layoutOf(t, written(t, fixtures.TinyFolder(1, "Qwen2ForCausalLM", fixtures.FolderOptions{})))
	if _, err := ToGGUF(other, p, nil); !errors.Is(err, ErrMismatch) || !strings.Contains(err.Error(), `"qwen3"`) {
		t.Error(err)
	}
	for _, text := range []string{"!", "R0dVRg=="} {
		p.Metadata[storedKey] = text
		if _, err := ToGGUF(l, p, nil); !errors.Is(err, ErrInvalid) {
			t.Errorf("metadata %q: %v", text, err)
		}
	}
}

func TestTheRepositoryOfTheBaseIsRecorded(t *testing.T) {
	l := layoutOf(t, written(t, fixtures.TinyFolder(1, "Qwen3ForCausalLM", fixtures.FolderOptions{})))
	modules := map[string][2]int{"model.layers.0.self_attn.q_proj": {32, 48}}
	for name, want := range map[string]string{"Qwen/Qwen3-0.6B": hub + "Qwen/Qwen3-0.6B", "/home/me/model": "", "./a/b": "", "../b": "", "model": "", `c:\a/b`: ""} {
		m, err := ToGGUF(l, onModules(map[string]any{"peft_type": "LORA", "base_model_name_or_path": name}, 2, modules), nil)
		if err != nil {
			t.Fatal(err)
		}
		if url, _ := m.Metadata().Str(keyBaseURL); url != want {
			t.Errorf("%s is recorded as %q", name, url)
		}
	}
}

// outlined is the layout of what an adapter tells itself.
func outlined(o *convert.Outline, err error) (*convert.Layout, error) {
	if err != nil {
		return nil, err
	}
	return convert.LayoutOfOutline(o)
}

func TestWithoutAModelAnAdapterBecomesTheSameOrTheModelIsAskedFor(t *testing.T) {
	alike := 0
	for _, name := range fixtures.FolderArchitectures() {
		f := fixtures.TinyFolder(1, name, fixtures.FolderOptions{})
		l := layoutOf(t, written(t, f))
		l.Inside = false // which nothing in GGUF tells
		a := randomAdapter(l, 2, everything)
		for _, form := range []Form{PEFT, MLX} {
			want, err := FromGGUF(l, a, Options{Form: form}, nil)
			if err != nil {
				continue // latents
			}
			without, err := outlined(OutlineOfGGUF(a))
			if errors.Is(err, convert.ErrUnsupported) {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			got, err := FromGGUF(without, a, Options{Form: form}, nil)
			if errors.Is(err, ErrNeedsBase) {
				continue
			}
			if err != nil {
				t.Errorf("%s to %v: %v", name, form, err)
				continue
			}
			alike++
			sameTensors(t, name, got.Tensors, want.Tensors)
			got.Config = reread(got.Config)
			back, err := outlined(got.Outline(a.Metadata().All()[0].Value.(string)))
			if err != nil {
				t.Fatal(err)
			}
			again, err := ToGGUF(back, got, nil)
			if errors.Is(err, ErrNeedsBase) && strings.Contains(err.Error(), "how many") {
				continue
			}
			if err != nil {
				t.Errorf("%s from %v: %v", name, form, err)
				continue
			}
			sameAdapter(t, name, again, a)
		}
	}
	if alike < 12 {
		t.Errorf("only %d adapters needed no model", alike)
	}
}

func sameTensors(t *testing.T, name string, got, want []*safetensors.Tensor) {
	t.Helper()
	index := map[string]*safetensors.Tensor{}
	for _, x := range got {
		index[x.Name] = x
	}
	if len(got) != len(want) {
		t.Errorf("%s: %d tensors, want %d", name, len(got), len(want))
	}
	for _, x := range want {
		y := index[x.Name]
		if y == nil || !slices.Equal(y.Shape, x.Shape) {
			t.Errorf("%s: %s %v became %+v", name, x.Name, x.Shape, y)
			continue
		}
		a, _ := x.Bytes()
		b, _ := y.Bytes()
		if !bytes.Equal(a, b) {
			t.Errorf("%s: %s differs", name, x.Name)
		}
	}
}

func TestTheModelIsAskedForByItsReason(t *testing.T) {
	llama := layoutOf(t, written(t, fixtures.TinyFolder(1, "LlamaForCausalLM", fixtures.FolderOptions{})))
	moe := layoutOf(t, written(t, fixtures.TinyFolder(1, "Qwen3MoeForCausalLM", fixtures.FolderOptions{})))
	for says, c := range map[string]struct {
		l    *convert.Layout
		keep string
	}{"number of heads": {llama, "attn_k.weight"}, "how many": {moe, "ffn_up_exps.weight"}} {
		a := randomAdapter(c.l, 2, func(name string) bool { return strings.HasSuffix(name, c.keep) })
		p, err := FromGGUF(c.l, a, Options{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		p.Config = reread(p.Config)
		l, err := outlined(p.Outline(c.l.Arch))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ToGGUF(l, p, nil); !errors.Is(err, ErrNeedsBase) || !strings.Contains(err.Error(), says) {
			t.Errorf("the error does not say %q: %v", says, err)
		}
	}
}
