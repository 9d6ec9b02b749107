package peft

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"qtool/fixtures"
	"qtool/gguf"
	"qtool/internal/convert"
	"qtool/internal/sharedtest"
	"qtool/internal/torchfile"
	"qtool/safetensors"
)

// onModules is an adapter with pairs of ones on linear layers, [in, out] each.
func onModules(config map[string]any, rank int, modules map[string][2]int) *Adapter {
	p := &Adapter{Config: reread(config)}
	put := func(name string, shape ...int) {
		v := make(gguf.Float32s, elements(shape))
		for i := range v {
			v[i] = 1
		}
		p.Tensors = append(p.Tensors, &safetensors.Tensor{Name: "base_model.model." + name, DType: safetensors.F32, Shape: shape, Data: v})
	}
	for module, size := range modules {
		put(module+".lora_A.weight", rank, size[0])
		put(module+".lora_B.weight", size[1], rank)
	}
	return p
}

// changeOf is what an adapter adds to the first element of a weight.
func changeOf(t *testing.T, adapter gguf.Model, name string) float64 {
	t.Helper()
	alpha, err := adapter.Metadata().Float("adapter.lora.alpha")
	if err != nil {
		t.Fatal(err)
	}
	a, b := values(t, adapter, name+".lora_a"), values(t, adapter, name+".lora_b")
	half, _ := adapter.Tensor(name + ".lora_b")
	sum := 0.0
	for r := range half.Shape[0] {
		sum += float64(a[r*len(a)/half.Shape[0]]) * float64(b[r])
	}
	return alpha / float64(half.Shape[0]) * sum
}

func TestScalesOfPEFTHoldWhateverTheirSpelling(t *testing.T) {
	l := layoutOf(t, written(t, fixtures.TinyFolder(1, "Qwen3ForCausalLM", fixtures.FolderOptions{})))
	const q, v, down = "model.layers.0.self_attn.q_proj", "model.layers.1.self_attn.v_proj", "model.layers.0.mlp.down_proj"
	modules := map[string][2]int{q: {32, 48}, v: {32, 24}, down: {40, 32}}
	for name, c := range map[string]struct {
		config map[string]any
		want   map[string]float64 // of a sum of 4 ranks of 1
	}{
		"one alpha":        {map[string]any{"lora_alpha": 8}, map[string]float64{"blk.0.attn_q.weight": 8, "blk.1.attn_v.weight": 8, "blk.0.ffn_down.weight": 8}},
		"a broken alpha":   {map[string]any{"lora_alpha": 0.5}, map[string]float64{"blk.0.attn_q.weight": 0.5}},
		"no alpha":         {map[string]any{}, map[string]float64{"blk.0.attn_q.weight": 8}},
		"rank-stabilized":  {map[string]any{"lora_alpha": 8, "use_rslora": true}, map[string]float64{"blk.0.attn_q.weight": 16, "blk.1.attn_v.weight": 16}},
		"by name":          {map[string]any{"lora_alpha": 8, "alpha_pattern": map[string]any{"q_proj": 2}}, map[string]float64{"blk.0.attn_q.weight": 2, "blk.1.attn_v.weight": 8}},
		"by whole name":    {map[string]any{"lora_alpha": 8, "alpha_pattern": map[string]any{v: 3, "v_proj": 5}}, map[string]float64{"blk.1.attn_v.weight": 3}},
		"by an expression": {map[string]any{"lora_alpha": 8, "alpha_pattern": map[string]any{`layers\.0\..*`: 1}}, map[string]float64{"blk.0.attn_q.weight": 1, "blk.0.ffn_down.weight": 1, "blk.1.attn_v.weight": 8}},
		"a negative alpha": {map[string]any{"lora_alpha": -4}, map[string]float64{"blk.0.attn_q.weight": -4}},
	} {
		c.config["peft_type"], c.config["r"] = "LORA", 4
		m, err := ToGGUF(l, onModules(c.config, 4, modules), nil)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for tensor, want := range c.want {
			if got := changeOf(t, m, tensor); math.Abs(got-want) > 1e-6 {
				t.Errorf("%s: %s changes by %g, want %g", name, tensor, got, want)
			}
		}
	}
}

func TestPairsOfDifferentRanksKeepTheirScales(t *testing.T) {
	l := layoutOf(t, written(t, fixtures.TinyFolder(1, "Qwen3ForCausalLM", fixtures.FolderOptions{})))
	config := map[string]any{"peft_type": "LORA", "r": 4, "lora_alpha": 8, "rank_pattern": map[string]any{"v_proj": 2}}
	p := onModules(config, 4, map[string][2]int{"model.layers.0.self_attn.q_proj": {32, 48}})
	p.Tensors = append(p.Tensors, onModules(config, 2, map[string][2]int{"model.layers.0.self_attn.v_proj": {32, 24}}).Tensors...)
	m, err := ToGGUF(l, p, nil)
	if err != nil {
		t.Fatal(err)
	}
	// The scale of a pair is alpha by its own rank: 4 · 8/4 and 2 · 8/2.
	for _, name := range []string{"blk.0.attn_q.weight", "blk.0.attn_v.weight"} {
		if got := changeOf(t, m, name); got != 8 {
			t.Errorf("%s changes by %g, want 8", name, got)
		}
	}
	back, err := FromGGUF(l, m, Options{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	again, err := ToGGUF(l, &Adapter{Config: reread(back.Config), Tensors: back.Tensors}, nil)
	if err != nil {
		t.Fatal(err)
	}
	sameAdapter(t, "there and back", again, m)
}

func TestExpertsWithoutAPairGetZerosAndLowerRanksAreFilledUp(t *testing.T) {
	l := layoutOf(t, written(t, fixtures.TinyFolder(1, "MixtralForCausalLM", fixtures.FolderOptions{})))
	const expert = "model.layers.1.block_sparse_moe.experts."
	config := map[string]any{"peft_type": "LORA", "r": 2, "lora_alpha": 2}
	p := onModules(config, 2, map[string][2]int{expert + "1.w3": {32, 40}})
	p.Tensors = append(p.Tensors, onModules(config, 1, map[string][2]int{expert + "3.w3": {32, 40}}).Tensors...)
	m, err := ToGGUF(l, p, nil)
	if err != nil {
		t.Fatal(err)
	}
	a, b := values(t, m, "blk.1.ffn_up_exps.weight.lora_a"), values(t, m, "blk.1.ffn_up_exps.weight.lora_b")
	if len(m.Tensors()) != 2 || len(a) != 5*2*32 || len(b) != 5*2*40 {
		t.Fatalf("%d tensors, halves of %d and %d", len(m.Tensors()), len(a), len(b))
	}
	for e, want := range []float32{0, 2, 0, 2, 0} { // scale · sum over the ranks
		got := float32(0)
		for r := range 2 {
			got += a[(e*2+r)*32] * b[e*2*40+r]
		}
		if got != want {
			t.Errorf("expert %d changes by %g, want %g", e, got, want)
		}
	}
}

func TestAPairOnAPieceBecomesOneOnTheWhole(t *testing.T) {
	l := layoutOf(t, written(t, fixtures.TinyFolder(1, "GraniteMoeSharedForCausalLM", fixtures.FolderOptions{})))
	for _, name := range []string{"blk.0.ffn_up_shexp.weight", "blk.0.ffn_up_exps.weight"} {
		adapter := randomAdapter(l, 2, func(n string) bool { return n == name })
		p, err := FromGGUF(l, adapter, Options{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		b, err := p.Tensors[1].Bytes()
		if err != nil {
			t.Fatal(err)
		}
		v, columns := gguf.DecodeFloat32(b), p.Tensors[1].Shape[1]
		for row := range p.Tensors[1].Shape[0] {
			if gate := row < p.Tensors[1].Shape[0]/2; gate != allZero(v[row*columns:][:columns]) {
				t.Errorf("%s: row %d of %s", name, row, p.Tensors[1].Name)
			}
		}
	}
	// Both tensors share the ranks where they share A.
	both := randomAdapter(l, 2, func(n string) bool {
		return strings.HasPrefix(n, "blk.0.ffn_") && strings.HasSuffix(n, "_shexp.weight") && !strings.Contains(n, "down")
	})
	a, _ := both.Tensor("blk.0.ffn_gate_shexp.weight.lora_a")
	up, _ := both.Tensor("blk.0.ffn_up_shexp.weight.lora_a")
	if p, err := FromGGUF(l, both, Options{}, nil); err != nil || p.Tensors[0].Shape[0] != 4 {
		t.Errorf("two pairs of rank 2 became %+v, %v", p.Tensors[0], err)
	}
	up.Data = a.Data
	if p, err := FromGGUF(l, both, Options{}, nil); err != nil || p.Tensors[0].Shape[0] != 2 {
		t.Errorf("two pairs that share A became %+v, %v", p.Tensors[0], err)
	}
}

func TestOneTensorOfSeveralWeightsGetsTheRanksOfAll(t *testing.T) {
	f := fixtures.TinyFolder(1, "LlamaForCausalLM", fixtures.FolderOptions{})
	apart := opened(t, f, 0)
	// The same model with queries, keys and values in one tensor, as GGUF permits.
	var tensors []*gguf.Tensor
	for _, x := range apart.Tensors() {
		switch {
		case strings.Contains(x.Name, "attn_q."):
			v := values(t, apart, x.Name)
			rows := x.Shape[1]
			for _, part := range []string{"attn_k.", "attn_v."} {
				name := strings.Replace(x.Name, "attn_q.", part, 1)
				y, _ := apart.Tensor(name)
				v, rows = append(v, values(t, apart, name)...), rows+y.Shape[1]
			}
			tensors = append(tensors, gguf.Float32Tensor(strings.Replace(x.Name, "attn_q.", "attn_qkv.", 1), []int{x.Shape[0], rows}, v))
		case !strings.Contains(x.Name, "attn_k.") && !strings.Contains(x.Name, "attn_v."):
			tensors = append(tensors, x)
		}
	}
	fused := gguf.Assemble(apart.Metadata(), tensors)
	l, err := convert.LayoutOfGGUF(fused)
	if err != nil {
		t.Fatal(err)
	}
	p := foldersPEFT(f, 2, func(name string) bool { return strings.Contains(name, "q_proj") || strings.Contains(name, "v_proj") })
	adapter, err := ToGGUF(l, p, nil)
	if err != nil {
		t.Fatal(err)
	}
	if b, ok := adapter.Tensor("blk.1.attn_qkv.weight.lora_b"); !ok || !slices.Equal(b.Shape, []int{4, 64}) {
		t.Errorf("the pair on attn_qkv is %+v", b)
	}
	if e := sharedtest.NMSE(logitsOf(t, mergedGGUF(t, fused, adapter)), logitsOf(t, opened(t, merged(t, f, p, 2), 0))); e > 1e-10 {
		t.Errorf("the logits differ from those of the merged folder: NMSE %g", e)
	}
}

func TestStacksOfOlderPEFTHaveTheirHalvesExchanged(t *testing.T) {
	f := fixtures.TinyFolder(1, "GraniteMoeForCausalLM", fixtures.FolderOptions{})
	l := layoutOf(t, written(t, f))
	straight := foldersPEFT(f, 2, func(name string) bool { return strings.Contains(name, "put_linear") })
	want, err := ToGGUF(l, straight, nil)
	if err != nil {
		t.Fatal(err)
	}
	// Before 0.19.1, A was over the axis behind the experts, which here is that of the rows.
	old := &Adapter{Config: straight.Config}
	for i := 0; i < len(straight.Tensors); i += 2 {
		a, b := straight.Tensors[i], straight.Tensors[i+1]
		const experts = 5
		rank, in, out := a.Shape[0]/experts, a.Shape[1], b.Shape[0]
		raw, _ := a.Bytes()
		va := gguf.DecodeFloat32(raw)
		raw, _ = b.Bytes()
		vb := gguf.DecodeFloat32(raw)
		na, nb := make(gguf.Float32s, len(vb)), make(gguf.Float32s, len(va))
		for e := range experts {
			for r := range rank {
				for o := range out {
					na[(e*rank+r)*out+o] = vb[o*rank*experts+r*experts+e]
				}
				for i := range in {
					nb[i*rank*experts+r*experts+e] = va[(e*rank+r)*in+i]
				}
			}
		}
		old.Tensors = append(old.Tensors,
			&safetensors.Tensor{Name: a.Name, DType: a.DType, Shape: []int{rank * experts, out}, Data: na},
			&safetensors.Tensor{Name: b.Name, DType: b.DType, Shape: []int{in, rank * experts}, Data: nb})
	}
	got, err := ToGGUF(l, old, nil)
	if err != nil {
		t.Fatal(err)
	}
	sameAdapter(t, "exchanged", got, want)
}

func TestWhatIsMoreThanPairsIsRefusedWithItsReason(t *testing.T) {
	dir := written(t, fixtures.TinyFolder(1, "LlamaForCausalLM", fixtures.FolderOptions{}))
	l := layoutOf(t, dir)
	const q = "model.layers.0.self_attn.q_proj"
	for name, c := range map[string]struct {
		change func(p *Adapter)
		says   string
	}{
		"another method":     {func(p *Adapter) { p.Config["peft_type"] = "IA3" }, "IA3"},
		"DoRA":               {func(p *Adapter) { p.Config["use_dora"] = true }, "use_dora"},
		"biases":             {func(p *Adapter) { p.Config["bias"] = "lora_only" }, "lora_only"},
		"whole modules":      {func(p *Adapter) { p.Config["modules_to_save"] = []any{"lm_head"} }, "modules_to_save"},
		"activated":          {func(p *Adapter) { p.Config["alora_invocation_tokens"] = []any{json.Number("3")} }, "alora_invocation_tokens"},
		"a changed base":     {func(p *Adapter) { p.Config["init_lora_weights"] = "pissa_niter_16" }, "pissa"},
		"layers twice":       {func(p *Adapter) { p.Config["layer_replication"] = []any{[]any{}} }, "layer_replication"},
		"no such expression": {func(p *Adapter) { p.Config["alpha_pattern"] = map[string]any{"(": json.Number("3")} }, "not understood"},
		"no alpha":           {func(p *Adapter) { p.Config["lora_alpha"] = json.Number("0") }, "alpha"},
		"another module": {func(p *Adapter) {
			*p = *onModules(p.Config, 2, map[string][2]int{"model.layers.7.mlp.up_proj": {32, 40}})
		}, "layers.7.mlp.up_proj"},
		"another shape":  {func(p *Adapter) { *p = *onModules(p.Config, 2, map[string][2]int{q: {32, 31}}) }, "32 columns and 31 rows"},
		"one half":       {func(p *Adapter) { p.Tensors = p.Tensors[:1] }, "one half"},
		"two ranks":      {func(p *Adapter) { p.Tensors[0].Shape = []int{1, 64} }, "columns"},
		"a vector":       {func(p *Adapter) { p.Tensors[0].Shape = []int{64} }, "matrix"},
		"integers":       {func(p *Adapter) { p.Tensors[0].DType = safetensors.I32 }, "I32"},
		"a magnitude":    {func(p *Adapter) { p.Tensors[0].Name = "base_model.model." + q + ".lora_magnitude_vector" }, "DoRA"},
		"a bias":         {func(p *Adapter) { p.Tensors[0].Name = "base_model.model." + q + ".lora_B.bias" }, "bias"},
		"a whole weight": {func(p *Adapter) { p.Tensors[0].Name = "base_model.model.lm_head.weight" }, "modules_to_save"},
		"nothing":        {func(p *Adapter) { p.Tensors = nil }, "no pairs"},
	} {
		p := onModules(map[string]any{"peft_type": "LORA", "r": 2, "lora_alpha": 4}, 2, map[string][2]int{q: {32, 32}})
		if _, err := ToGGUF(l, p, nil); err != nil {
			t.Fatal(err)
		}
		c.change(p)
		if _, err := ToGGUF(l, p, nil); !isMarked(err) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: the error is of no kind or does not say %q: %v", name, c.says, err)
		}
	}
}

func TestAFolderThatIsNoAdapterIsRefused(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(dir); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), adapterConfig) {
		t.Errorf("an empty folder: %v", err)
	}
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	write(adapterConfig, "{}")
	if _, err := Open(dir); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), peftWeights) {
		t.Errorf("no weights: %v", err)
	}
	write(torchWeights, "\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.")
	if _, err := Open(dir); !errors.Is(err, torchfile.ErrUnsupported) || !strings.Contains(err.Error(), "before PyTorch 1.6") {
		t.Errorf("weights in the legacy form: %v", err)
	}
	if err := (&Adapter{Config: map[string]any{"peft_type": "LORA"}}).Write(context.Background(), filepath.Join(dir, "nowhere")); err == nil {
		t.Error("an adapter was written into a folder that is not there")
	}
}

func TestAnAdapterInGGUFThatCannotBeSaidInPEFTIsRefused(t *testing.T) {
	f := fixtures.TinyFolder(1, "LongcatFlashForCausalLM", fixtures.FolderOptions{})
	l := layoutOf(t, written(t, f))
	adapter := randomAdapter(l, 2, func(n string) bool { return n == "blk.0.ffn_down_exps.weight" })
	b, _ := adapter.Tensor("blk.0.ffn_down_exps.weight.lora_b")
	v := values(t, adapter, b.Name)
	v[len(v)-1] = 1 // of the expert of zeros
	b.Data = gguf.Float32s(v)
	if _, err := FromGGUF(l, adapter, Options{}, nil); !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), "computes nothing") {
		t.Errorf("a pair on the expert that computes nothing: %v", err)
	}
	other := layoutOf(t, written(t, fixtures.TinyFolder(1, "Qwen2ForCausalLM", fixtures.FolderOptions{})))
	if _, err := FromGGUF(other, adapter, Options{}, nil); !errors.Is(err, ErrMismatch) || !strings.Contains(err.Error(), "longcat") {
		t.Errorf("an adapter of another architecture: %v", err)
	}
}

func TestALayoutOfMoreThanAnyModelHasCostsNothing(t *testing.T) {
	f := fixtures.TinyFolder(1, "DeepseekV3ForCausalLM", fixtures.FolderOptions{})
	for field, n := range map[string]int{"num_hidden_layers": 1 << 30, "n_routed_experts": 1 << 30, "num_attention_heads": 1 << 30} {
		g := *f
		g.Config = maps.Clone(f.Config)
		g.Config[field] = n
		if _, err := convert.LayoutOfFolder(written(t, &g)); !errors.Is(err, convert.ErrInvalid) {
			t.Errorf("%s of %d: %v", field, n, err)
		}
	}
	md := f.Twin.Metadata().Clone()
	md.Set("deepseek2.block_count", uint32(1<<30))
	if _, err := convert.LayoutOfGGUF(gguf.Assemble(md, f.Twin.Tensors())); !errors.Is(err, convert.ErrInvalid) {
		t.Errorf("2^30 blocks: %v", err)
	}
	md.Set("deepseek2.block_count", uint64(1<<40))
	if _, err := convert.LayoutOfGGUF(gguf.Assemble(md, f.Twin.Tensors())); !errors.Is(err, convert.ErrInvalid) {
		t.Errorf("2^40 blocks: %v", err)
	}
}
