package peft

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"qtool/fixtures"
	"qtool/gguf"
	"qtool/internal/convert"
	"qtool/safetensors"
)

// latents are the tensors that mlx-lm has no LoRA for.
func latents(name string) bool {
	return strings.Contains(name, "_k_b.") || strings.Contains(name, "_v_b.")
}

func TestAnAdapterOfEveryArchitectureComesBackFromMLX(t *testing.T) {
	for _, name := range fixtures.FolderArchitectures() {
		f := fixtures.TinyFolder(1, name, fixtures.FolderOptions{})
		fromGGUF, err := convert.LayoutOfGGUF(f.Twin)
		if err != nil {
			t.Fatal(err)
		}
		for from, l := range map[string]*convert.Layout{"config.json": layoutOf(t, written(t, f)), "GGUF": fromGGUF} {
			want := randomAdapter(l, 3, func(name string) bool { return !latents(name) })
			r := &Report{}
			p, err := FromGGUF(l, want, Options{Form: MLX}, r)
			if err != nil {
				t.Fatalf("%s from %s: %v", name, from, err)
			}
			if len(r.Folded) > 0 {
				t.Errorf("%s: %+v", name, r)
			}
			dir := t.TempDir()
			if err := p.Write(context.Background(), dir); err != nil {
				t.Fatal(err)
			}
			read, err := Open(dir)
			if err != nil || read.Form != MLX {
				t.Fatal(read, err)
			}
			got, err := ToGGUF(l, read, nil)
			if err != nil {
				t.Fatalf("%s from %s: %v", name, from, err)
			}
			sameAdapter(t, fmt.Sprint(name, " from ", from), got, want)
			read.Close()
		}
	}
}

// mlxNames are what mlx-lm calls the weights of a folder, by the sanitize methods of its models:
// experts of a layer are one module, the others keep their names.
var mlxNames = []struct{ folder, mlx string }{
	{`^(.*block_sparse_moe)\.experts\.(\d+)\.w1$`, "$1.switch_mlp.gate_proj"},
	{`^(.*block_sparse_moe)\.experts\.(\d+)\.w2$`, "$1.switch_mlp.down_proj"},
	{`^(.*block_sparse_moe)\.experts\.(\d+)\.w3$`, "$1.switch_mlp.up_proj"},
	{`^(.*mlp)\.experts\.(\d+)\.(gate|up|down)_proj$`, "$1.switch_mlp.${3}_proj"},
}

// foldersMLX has a pair on every linear layer of a folder that mlx-lm would have one on, at a
// scale, and the folder with all of them added by the definition of mlx-lm: W + scale · (a b)ᵀ.
func foldersMLX(f *fixtures.Folder, rank int, scale float64, keep func(name string) bool) (*Adapter, *fixtures.Folder) {
	rng := rand.New(rand.NewPCG(5, uint64(rank)))
	random := func(n int) gguf.Float32s {
		v := make(gguf.Float32s, n)
		for i := range v {
			v[i] = float32(rng.NormFloat64()) / 4
		}
		return v
	}
	type stack struct{ a, b gguf.Float32s }
	stacks, shapes, order := map[string]*stack{}, map[string][3]int{}, []string{}
	p := &Adapter{Form: MLX, Config: reread(map[string]any{"fine_tune_type": "lora", "num_layers": -1, "lora_parameters": map[string]any{"rank": rank, "scale": scale}})}
	put := func(name string, v gguf.Float32s, shape ...int) {
		p.Tensors = append(p.Tensors, &safetensors.Tensor{Name: name, DType: safetensors.F32, Shape: shape, Data: v})
	}
	g := *f
	g.Tensors = nil
	for _, x := range f.Tensors {
		module, ok := strings.CutSuffix(x.Name, ".weight")
		if !ok || len(x.Shape) != 2 || !keep(x.Name) {
			g.Tensors = append(g.Tensors, x)
			continue
		}
		out, in := x.Shape[0], x.Shape[1]
		raw, _ := x.Bytes()
		w := gguf.DecodeFloat32(raw)
		name := module
		for _, rule := range mlxNames {
			name = regexp.MustCompile(rule.folder).ReplaceAllString(name, rule.mlx)
		}
		// at is a[i, r] and bt is b[r, o], whatever the order of storage.
		var a, b gguf.Float32s
		var at, bt func(i, r int) float32
		if name != module {
			if stacks[name] == nil {
				stacks[name] = &stack{}
				order = append(order, name)
			}
			a, b = random(rank*in), random(out*rank)
			s := stacks[name]
			s.a, s.b = append(s.a, a...), append(s.b, b...)
			shapes[name] = [3]int{in, out, shapes[name][2] + 1}
			at, bt = func(i, r int) float32 { return a[r*in+i] }, func(r, o int) float32 { return b[o*rank+r] }
		} else {
			a, b = random(in*rank), random(rank*out)
			at, bt = func(i, r int) float32 { return a[i*rank+r] }, func(r, o int) float32 { return b[r*out+o] }
			if strings.HasSuffix(module, "embed_tokens") { // a is over the vocabulary
				a, b = random(out*rank), random(rank*in)
				at, bt = func(i, r int) float32 { return b[r*in+i] }, func(r, o int) float32 { return a[o*rank+r] }
				put(name+".lora_a", a, out, rank)
				put(name+".lora_b", b, rank, in)
			} else {
				put(name+".lora_a", a, in, rank)
				put(name+".lora_b", b, rank, out)
			}
		}
		for o := range out {
			for i := range in {
				sum := 0.0
				for r := range rank {
					sum += float64(at(i, r)) * float64(bt(r, o))
				}
				w[o*in+i] += float32(scale * sum)
			}
		}
		g.Tensors = append(g.Tensors, &safetensors.Tensor{Name: x.Name, DType: safetensors.F32, Shape: x.Shape, Data: gguf.Float32s(w)})
	}
	for _, name := range order {
		s := shapes[name]
		put(name+".lora_a", stacks[name].a, s[2], rank, s[0])
		put(name+".lora_b", stacks[name].b, s[2], s[1], rank)
	}
	return p, &g
}

func TestAnAdapterOfMLXDoesInGGUFWhatItDoesInTheFolder(t *testing.T) {
	for i, name := range []string{
		"LlamaForCausalLM", "Qwen3ForCausalLM", "Phi3ForCausalLM", "Gemma2ForCausalLM", "GraniteForCausalLM", "Glm4ForCausalLM",
		"MixtralForCausalLM", "Qwen2MoeForCausalLM", "Qwen3MoeForCausalLM", "OlmoeForCausalLM", "Glm4MoeForCausalLM", "DeepseekV2ForCausalLM",
	} {
		t.Run(name, func(t *testing.T) {
			f := fixtures.TinyFolder(uint64(i), name, fixtures.FolderOptions{})
			_, untied := f.Twin.Tensor("output.weight")
			p, want := foldersMLX(f, 2, 1.5, func(name string) bool {
				return !sightless.MatchString(name) && (untied || !strings.Contains(name, "embed"))
			})
			adapter, err := ToGGUF(layoutOf(t, written(t, f)), p, nil)
			if err != nil {
				t.Fatal(err)
			}
			closeLogits(t, name, logitsOf(t, mergedGGUF(t, opened(t, f, 0), adapter)), logitsOf(t, opened(t, want, 0)))
		})
	}
}

func TestExpertsOfGraniteAndGPTOSSHaveTheirNamesInMLX(t *testing.T) {
	for architecture, modules := range map[string][]string{
		"GraniteMoeForCausalLM": {"model.layers.0.block_sparse_moe.switch_mlp.gate_proj", "model.layers.1.block_sparse_moe.switch_mlp.down_proj"},
		"GptOssForCausalLM":     {"model.layers.0.mlp.experts.up_proj", "model.layers.1.mlp.experts.down_proj"},
		"Qwen3MoeForCausalLM":   {"model.layers.0.mlp.switch_mlp.up_proj"},
	} {
		l := layoutOf(t, written(t, fixtures.TinyFolder(1, architecture, fixtures.FolderOptions{})))
		p, err := FromGGUF(l, randomAdapter(l, 2, everything), Options{Form: MLX}, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, module := range modules {
			if !slices.ContainsFunc(p.Tensors, func(x *safetensors.Tensor) bool { return x.Name == module+".lora_a" && len(x.Shape) == 3 }) {
				t.Errorf("%s: no %s.lora_a of three axes", architecture, module)
			}
		}
	}
}

func TestPairsOfOtherRanksAndScalesAreFoldedAndToldInMLX(t *testing.T) {
	l := layoutOf(t, written(t, fixtures.TinyFolder(1, "Qwen3ForCausalLM", fixtures.FolderOptions{})))
	small := randomAdapter(l, 2, func(name string) bool { return strings.HasSuffix(name, "attn_v.weight") })
	big := randomAdapter(l, 4, func(name string) bool {
		return strings.HasSuffix(name, "attn_q.weight") || strings.Contains(name, "ffn_up")
	})
	md := big.Metadata().Clone()
	md.Set("adapter.lora.alpha", float32(8))
	both := gguf.Assemble(md, append(slices.Clone(big.Tensors()), small.Tensors()...))
	r := &Report{}
	p, err := FromGGUF(l, both, Options{Form: MLX}, r)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Folded) != 2 || r.Folded[0].Factor != 2 || len(r.Padded) != 2 || r.Pairs != 6 {
		t.Errorf("%+v", r)
	}
	back, err := ToGGUF(l, &Adapter{Form: MLX, Config: reread(p.Config), Tensors: p.Tensors, Metadata: p.Metadata}, nil)
	if err != nil {
		t.Fatal(err)
	}
	sameAdapter(t, "there and back", back, both) // powers of two fold without a loss
}

func TestWhatIsMoreThanPairsIsRefusedInMLX(t *testing.T) {
	f := fixtures.TinyFolder(1, "Qwen3MoeForCausalLM", fixtures.FolderOptions{})
	l := layoutOf(t, written(t, f))
	good := func() *Adapter {
		p, _ := foldersMLX(f, 2, 2, func(name string) bool { return strings.Contains(name, "q_proj") || strings.Contains(name, "experts") })
		return p
	}
	stack := func(p *Adapter) *safetensors.Tensor {
		for _, x := range p.Tensors {
			if len(x.Shape) == 3 {
				return x
			}
		}
		panic("no stack")
	}
	parameters := func(p *Adapter) map[string]any { return p.Config["lora_parameters"].(map[string]any) }
	for name, c := range map[string]struct {
		change func(p *Adapter)
		says   string
	}{
		"DoRA":            {func(p *Adapter) { p.Config["fine_tune_type"] = "dora" }, "DoRA"},
		"older DoRA":      {func(p *Adapter) { p.Config["use_dora"] = true }, "DoRA"},
		"a magnitude":     {func(p *Adapter) { p.Tensors[0].Name = "model.layers.0.self_attn.q_proj.m" }, "magnitude"},
		"full":            {func(p *Adapter) { p.Config["fine_tune_type"] = "full" }, "full"},
		"a whole weight":  {func(p *Adapter) { p.Tensors[0].Name = "lm_head.weight" }, "mlx_lm.fuse"},
		"no scale":        {func(p *Adapter) { delete(parameters(p), "scale") }, "scale"},
		"a scale of text": {func(p *Adapter) { parameters(p)["scale"] = "two" }, "scale"},
		"no parameters":   {func(p *Adapter) { delete(p.Config, "lora_parameters") }, "scale"},
		"another module":  {func(p *Adapter) { p.Tensors[0].Name, p.Tensors[1].Name = "model.x.lora_a", "model.x.lora_b" }, "model.x"},
		"absorbed latents": {func(p *Adapter) {
			p.Tensors[0].Name, p.Tensors[1].Name = "model.layers.0.self_attn.embed_q.lora_a", "model.layers.0.self_attn.embed_q.lora_b"
		}, "embed_q"},
		"one half":          {func(p *Adapter) { p.Tensors = p.Tensors[1:] }, "one half"},
		"the same half":     {func(p *Adapter) { p.Tensors[1].Name = p.Tensors[0].Name }, "same half"},
		"no pairs":          {func(p *Adapter) { p.Tensors = nil }, "no pairs"},
		"another rank":      {func(p *Adapter) { p.Tensors[0].Shape = []int{64, 1} }, "shapes"},
		"another width":     {func(p *Adapter) { p.Tensors[0].Shape = []int{16, 2} }, "16 columns"},
		"a matrix of three": {func(p *Adapter) { p.Tensors[0].Shape = []int{1, 32, 2} }, "shapes"},
		"too few experts":   {func(p *Adapter) { x := stack(p); x.Shape = []int{x.Shape[0] - 1, x.Shape[1], x.Shape[2]} }, "experts of"},
	} {
		p := good()
		if _, err := ToGGUF(l, p, nil); err != nil {
			t.Fatal(err)
		}
		c.change(p)
		if _, err := ToGGUF(l, p, nil); !isMarked(err) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: the error is of no kind or does not say %q: %v", name, c.says, err)
		}
	}
	latent := layoutOf(t, written(t, fixtures.TinyFolder(1, "DeepseekV3ForCausalLM", fixtures.FolderOptions{})))
	_, err := FromGGUF(latent, randomAdapter(latent, 2, latents), Options{Form: MLX}, nil)
	if !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), "--to peft") {
		t.Errorf("pairs on latents: %v", err)
	}
}
