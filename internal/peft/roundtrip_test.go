package peft

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"qtool/fixtures"
	"qtool/gguf"
	"qtool/internal/adapt"
	"qtool/internal/convert"
	"qtool/internal/model"
	"qtool/internal/sharedtest"
	"qtool/safetensors"
)

// written is the path of a folder of fixtures.
func written(t *testing.T, f *fixtures.Folder) string {
	t.Helper()
	dir := t.TempDir()
	if err := f.Write(context.Background(), dir, 0); err != nil {
		t.Fatal(err)
	}
	return dir
}

func layoutOf(t *testing.T, dir string) *convert.Layout {
	t.Helper()
	l, err := convert.LayoutOfFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// randomAdapter has a pair on every target of l for which keep is true.
func randomAdapter(l *convert.Layout, rank int, keep func(name string) bool) gguf.Model {
	rng := rand.New(rand.NewPCG(3, uint64(rank)))
	md := &gguf.Metadata{}
	md.Set("general.architecture", l.Arch)
	md.Set("general.type", "adapter")
	md.Set("adapter.type", "lora")
	md.Set("adapter.lora.alpha", float32(2*rank))
	var tensors []*gguf.Tensor
	for _, x := range l.Targets {
		if !keep(x.Name) {
			continue
		}
		shapeA, shapeB := []int{x.In, rank}, []int{rank, x.Rows()}
		if x.Embedding() {
			shapeA = []int{rank, x.Out}
		}
		if x.Matrices > 0 {
			shapeA, shapeB = append(shapeA, x.Matrices), append(shapeB, x.Matrices)
		}
		for i, shape := range [][]int{shapeA, shapeB} {
			v := make([]float32, elements(shape))
			for i := range v {
				v[i] = float32(rng.NormFloat64())
			}
			if x.Zeros > 0 {
				clear(v[len(v)/x.Matrices*(x.Matrices-x.Zeros):])
			}
			tensors = append(tensors, gguf.Float32Tensor(x.Name+[]string{".lora_a", ".lora_b"}[i], shape, v))
		}
	}
	return gguf.Assemble(md, tensors)
}

func everything(string) bool { return true }

func TestAnAdapterOfEveryArchitectureComesBackFromPEFT(t *testing.T) {
	for _, name := range fixtures.FolderArchitectures() {
		f := fixtures.TinyFolder(1, name, fixtures.FolderOptions{})
		dir := written(t, f)
		fromGGUF, err := convert.LayoutOfGGUF(f.Twin)
		if err != nil {
			t.Fatal(err)
		}
		for from, l := range map[string]*convert.Layout{"config.json": layoutOf(t, dir), "GGUF": fromGGUF} {
			for chosen, keep := range map[string]func(string) bool{
				"all": everything, "some": func(name string) bool {
					return strings.Contains(name, "attn_q") || strings.Contains(name, "blk.1.ffn_up") || strings.Contains(name, "v_b")
				},
			} {
				want := randomAdapter(l, 3, keep)
				p, err := FromGGUF(l, want, Options{Base: "a/base"}, nil)
				if err != nil {
					t.Fatalf("%s from %s: %v", name, from, err)
				}
				adapterDir := t.TempDir()
				if err := p.Write(context.Background(), adapterDir); err != nil {
					t.Fatal(err)
				}
				read, err := Open(adapterDir)
				if err != nil {
					t.Fatal(err)
				}
				got, err := ToGGUF(l, read, nil)
				if err != nil {
					t.Fatalf("%s from %s, %s: %v", name, from, chosen, err)
				}
				sameAdapter(t, fmt.Sprint(name, " from ", from, ", ", chosen), got, want)
				read.Close()
			}
		}
	}
}

func sameAdapter(t *testing.T, name string, got, want gguf.Model) {
	t.Helper()
	for _, kv := range want.Metadata().All() {
		if v, _ := got.Metadata().Get(kv.Key); v != kv.Value {
			t.Errorf("%s: %s is %v, want %v", name, kv.Key, v, kv.Value)
		}
	}
	if len(got.Tensors()) != len(want.Tensors()) {
		t.Errorf("%s: %d tensors, want %d", name, len(got.Tensors()), len(want.Tensors()))
	}
	for _, x := range want.Tensors() {
		y, ok := got.Tensor(x.Name)
		if !ok || !slices.Equal(y.Shape, x.Shape) {
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

// foldersPEFT has a pair on every weight of a folder whose name keep takes, as PEFT
// names and shapes them.
func foldersPEFT(f *fixtures.Folder, rank int, keep func(name string) bool) *Adapter {
	rng := rand.New(rand.NewPCG(4, uint64(rank)))
	p := &Adapter{Config: map[string]any{"peft_type": "LORA", "r": number(float64(rank)), "lora_alpha": number(float64(2 * rank))}}
	p.Config = reread(p.Config)
	half := func(name string, shape ...int) {
		v := make(gguf.Float32s, elements(shape))
		for i := range v {
			v[i] = float32(rng.NormFloat64()) / 4
		}
		p.Tensors = append(p.Tensors, &safetensors.Tensor{Name: name, DType: safetensors.F32, Shape: shape, Data: v})
	}
	for _, x := range f.Tensors {
		name, n, in, out := peftPlace(f, x)
		if name == "" || !keep(x.Name) {
			continue
		}
		if strings.HasSuffix(name, "embed_tokens") || strings.HasSuffix(name, "word_embeddings") {
			half(name+".lora_embedding_A", rank, out)
			half(name+".lora_embedding_B", in, rank)
			continue
		}
		half(name+".lora_A.weight", rank*n, in)
		half(name+".lora_B.weight", out, rank*n)
	}
	return p
}

// peftPlace is what PEFT puts before the halves on x, and how many matrices of which size
// that is; "" if there is no pair. Of two parameters of a module the first lies inside.
func peftPlace(f *fixtures.Folder, x *safetensors.Tensor) (name string, n, in, out int) {
	module, ok := strings.CutSuffix(x.Name, ".weight")
	if experts, both := strings.CutSuffix(x.Name, ".gate_up_proj"); both {
		module, ok = experts+".base_layer", true
	} else if experts, down := strings.CutSuffix(x.Name, ".experts.down_proj"); down {
		module, ok = experts+".experts", true
	}
	axes := len(x.Shape)
	if !ok || axes < 2 || axes > 3 {
		return "", 0, 0, 0
	}
	in, out, n = x.Shape[axes-1], x.Shape[axes-2], 1
	if axes == 3 {
		n = x.Shape[0]
	}
	if f.Architecture == "GptOssForCausalLM" && axes == 3 {
		in, out = out, in
	}
	return "base_model.model." + module, n, in, out
}

// reread is a configuration as it is read from a file.
func reread(fields map[string]any) map[string]any {
	text, _ := json.Marshal(fields)
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	var out map[string]any
	if err := dec.Decode(&out); err != nil {
		panic(err)
	}
	return out
}

// merged adds scale · B · A to the weights of a folder.
func merged(t *testing.T, f *fixtures.Folder, p *Adapter, scale float64) *fixtures.Folder {
	t.Helper()
	halves := map[string][]float32{}
	for _, x := range p.Tensors {
		b, _ := x.Bytes()
		halves[x.Name] = gguf.DecodeFloat32(b)
	}
	g := *f
	g.Tensors = nil
	for _, x := range f.Tensors {
		name, n, in, out := peftPlace(f, x)
		a, b := halves[name+".lora_A.weight"], halves[name+".lora_B.weight"]
		ea, eb := halves[name+".lora_embedding_A"], halves[name+".lora_embedding_B"]
		if a == nil && ea == nil {
			g.Tensors = append(g.Tensors, x)
			continue
		}
		raw, _ := x.Bytes()
		w := gguf.DecodeFloat32(raw)
		for i := range w {
			m, o, c, sum := i/(in*out), i/in%out, i%in, 0.0
			if f.Architecture == "GptOssForCausalLM" && len(x.Shape) == 3 {
				o, c = i%out, i/out%in
			}
			if ea != nil {
				rank := len(ea) / out
				for r := range rank {
					sum += float64(ea[r*out+o]) * float64(eb[c*rank+r])
				}
			} else {
				rank := len(a) / in / n
				for r := range rank {
					sum += float64(a[(m*rank+r)*in+c]) * float64(b[o*rank*n+r*n+m])
				}
			}
			w[i] += float32(scale * sum)
		}
		g.Tensors = append(g.Tensors, &safetensors.Tensor{Name: x.Name, DType: safetensors.F32, Shape: x.Shape, Data: gguf.Float32s(w)})
	}
	return &g
}

// mergedGGUF adds what an adapter does to the tensors of a model.
func mergedGGUF(t *testing.T, m, adapter gguf.Model) gguf.Model {
	t.Helper()
	alpha, _ := adapter.Metadata().Float("adapter.lora.alpha")
	var tensors []*gguf.Tensor
	for _, x := range m.Tensors() {
		if _, ok := adapter.Tensor(x.Name + ".lora_a"); !ok {
			tensors = append(tensors, x)
			continue
		}
		w, a, b := values(t, m, x.Name), values(t, adapter, x.Name+".lora_a"), values(t, adapter, x.Name+".lora_b")
		half, _ := adapter.Tensor(x.Name + ".lora_b")
		rank, in, out := half.Shape[0], x.Shape[0], x.Shape[1]
		for i := range w {
			stack, o, c, sum := i/(in*out), i/in%out, i%in, 0.0
			for r := range rank {
				if x.Name == "token_embd.weight" {
					sum += float64(a[o*rank+r]) * float64(b[c*rank+r])
				} else {
					sum += float64(a[(stack*rank+r)*in+c]) * float64(b[(stack*out+o)*rank+r])
				}
			}
			w[i] += float32(alpha / float64(rank) * sum)
		}
		tensors = append(tensors, gguf.Float32Tensor(x.Name, x.Shape, w))
	}
	return gguf.Assemble(m.Metadata(), tensors)
}

func TestAnAdapterOfEveryArchitectureDoesInGGUFWhatItDoesInTheFolder(t *testing.T) {
	for i, name := range fixtures.FolderArchitectures() {
		adapterDoesTheSame(t, uint64(i), name, false)
		if strings.Contains(name, "Moe") || strings.Contains(name, "Mixtral") || strings.Contains(name, "Deepseek") || strings.Contains(name, "Longcat") {
			adapterDoesTheSame(t, uint64(i), name, true)
		}
	}
}

// adapterDoesTheSame compares a folder with an adapter merged in with a GGUF that has the
// converted one.
func adapterDoesTheSame(t *testing.T, seed uint64, name string, fused bool) {
	t.Run(fmt.Sprintf("%s, fused experts %t", name, fused), func(t *testing.T) {
		f := fixtures.TinyFolder(seed, name, fixtures.FolderOptions{FusedExperts: fused || name == "GptOssForCausalLM"})
		l := layoutOf(t, written(t, f))
		keep := func(name string) bool { return !sightless.MatchString(name) }
		p := foldersPEFT(f, 2, keep)
		adapter, err := ToGGUF(l, p, nil)
		if err != nil {
			t.Fatal(err)
		}
		base, want := opened(t, f, 0), opened(t, merged(t, f, p, 2), 0)
		got := mergedGGUF(t, base, adapter)
		for _, x := range want.Tensors() {
			if e := sharedtest.NMSE(values(t, got, x.Name), values(t, want, x.Name)); e > 1e-12 {
				t.Errorf("%s differs: NMSE %g", x.Name, e)
			}
			if _, changed := adapter.Tensor(x.Name + ".lora_b"); len(x.Shape) > 1 && strings.HasSuffix(x.Name, ".weight") && !changed {
				t.Errorf("%s has no pair", x.Name)
			}
		}
		closeLogits(t, name, logitsOf(t, got), logitsOf(t, want))
	})
}

// closeLogits compares the logits of a model whose sums were taken in another order. Gemma's
// gelu rounds its argument to float16, of which the last bit of a sum may decide.
func closeLogits(t *testing.T, architecture string, got, want []float32) {
	t.Helper()
	limit := 1e-10
	if strings.HasPrefix(architecture, "Gemma") {
		limit = 1e-6
	}
	if e := sharedtest.NMSE(got, want); e > limit {
		t.Errorf("the logits differ: NMSE %g", e)
	}
}

// sightless are weights of what sees images, and of blocks that conversion leaves out.
var sightless = regexp.MustCompile(`vision_tower|multi_modal|\.mtp\.|eh_proj|shared_head`)

func TestAConvertedAdapterTakesEffectUnmerged(t *testing.T) {
	for i, name := range fixtures.FolderArchitectures() {
		t.Run(name, func(t *testing.T) {
			f := fixtures.TinyFolder(uint64(i), name, fixtures.FolderOptions{})
			_, untied := f.Twin.Tensor("output.weight")
			p := foldersPEFT(f, 2, func(name string) bool {
				return !sightless.MatchString(name) && !strings.Contains(name, "kv_b_proj") && (untied || !strings.Contains(name, "embed"))
			})
			m, err := ToGGUF(layoutOf(t, written(t, f)), p, nil)
			if err != nil {
				t.Fatal(err)
			}
			a, err := adapt.FromModel(m)
			if err != nil {
				t.Fatal(err)
			}
			a.MergeOnly = true // so that what llama.cpp would ignore is computed too
			d, err := model.Load(opened(t, f, 0), model.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if err := a.Attach(d); err != nil {
				t.Fatal(err)
			}
			closeLogits(t, name, decoderLogits(d), logitsOf(t, opened(t, merged(t, f, p, 2), 0)))
		})
	}
}

func TestReferenceAdaptersComeBack(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(sharedtest.Path(t, "golden/archs"), "*.lora.gguf"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	compared := 0
	for _, file := range files {
		base, err := gguf.Open(strings.TrimSuffix(file, ".lora.gguf") + ".gguf")
		if err != nil {
			t.Logf("%s: %v", file, err)
			continue
		}
		defer base.Close()
		adapter, err := gguf.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		defer adapter.Close()
		l, err := convert.LayoutOfGGUF(base)
		if errors.Is(err, convert.ErrUnsupported) {
			t.Logf("%s: %v", filepath.Base(file), err)
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", filepath.Base(file), err)
			continue
		}
		compared++
		for _, form := range []Form{PEFT, MLX} {
			label := fmt.Sprintf("%s through %v", filepath.Base(file), form)
			p, err := FromGGUF(l, adapter, Options{Form: form}, nil)
			if err != nil {
				t.Errorf("%s: %v", label, err)
				continue
			}
			p.Config = reread(p.Config)
			r := &Report{}
			back, err := ToGGUF(l, p, r)
			if err != nil {
				t.Errorf("%s: %v", label, err)
				continue
			}
			rounded := slices.ContainsFunc(r.Folded, func(f Folded) bool { frac, _ := math.Frexp(float64(f.Factor)); return frac != 0.5 })
			if rounded && form == MLX { // its one scale for all can be a power of two or not
				t.Logf("%s: not exact, folded by other factors than powers of two", label)
				continue
			}
			sameAdapter(t, label, back, adapter)
		}
	}
	if compared == 0 {
		t.Errorf("no adapter of a known architecture is there")
	}
}
