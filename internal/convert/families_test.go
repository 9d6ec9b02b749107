package convert

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"qtool/gguf"
	"qtool/internal/kernel/product"
	"qtool/internal/model"
	"qtool/internal/nn"
	"qtool/internal/sharedtest"
)

func TestAReferenceModelOfEveryFamilyTakenApartConvertsBackToItself(t *testing.T) {
	for family, s := range testSources {
		for name, want := range twins(t, family) {
			t.Run(family+"/"+name, func(t *testing.T) {
				got := folderOf(t, want, s).open(t, 0)
				sameTensors(t, got, want, s.shift)
				if w, g := logitsOf(t, want), logitsOf(t, got); sharedtest.NMSE(g, w) > 1e-10 {
					t.Errorf("the logits differ: NMSE %g", sharedtest.NMSE(g, w))
				}
			})
		}
	}
}

func sameTensors(t *testing.T, got, want gguf.Model, shift float32) {
	t.Helper()
	if len(got.Tensors()) != len(want.Tensors()) {
		t.Errorf("%d tensors, want %d", len(got.Tensors()), len(want.Tensors()))
	}
	for _, x := range want.Tensors() {
		y, ok := got.Tensor(x.Name)
		if !ok || !slices.Equal(y.Shape, x.Shape) && !(len(x.Shape) == 1 && slices.Equal(y.Shape, []int{x.Shape[0], 1})) {
			t.Fatalf("%s %v became %+v", x.Name, x.Shape, y)
		}
		xb, _ := x.Bytes()
		yb, err := y.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		part, from := make([]byte, len(yb)/2), len(yb)/3+1
		if n, err := y.Data.ReadAt(part[:min(len(part), len(yb)-from)], int64(from)); err != nil || !bytes.Equal(part[:n], yb[from:from+n]) {
			t.Errorf("%s read from the middle differs (%v)", x.Name, err)
		}
		rounded := shift != 0 && strings.HasSuffix(x.Name, "_norm.weight") // w-1+1 may round
		if !rounded && (y.Type != x.Type || !bytes.Equal(xb, yb)) {
			t.Errorf("%s differs", x.Name)
		}
		if x.Type == gguf.MXFP4 {
			continue
		}
		if e := sharedtest.NMSE(values(t, got, x.Name), values(t, want, x.Name)); e > 1e-12 {
			t.Errorf("%s differs: NMSE %g", x.Name, e)
		}
	}
}

func logitsOf(t *testing.T, m gguf.Model) []float32 {
	t.Helper()
	d, err := model.Load(m, model.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return decoderLogits(d)
}

func decoderLogits(d *model.Decoder) []float32 {
	p := product.NewPool(1)
	defer p.Close()
	tape := nn.NewTape(p)
	ids := []int32{5, 9, 33, 2, 60, 7, 7, 1, 12, 48, 3, 3, 17, 21, 40, 8, 9, 63, 31, 30, 6}
	return slices.Clone(d.Logits(tape, d.Hidden(tape, model.NewBatch(ids, []int{0}), nil, false)).Data)
}

func TestOptionsThatAnArchitectureDoesNotHaveAreRefused(t *testing.T) {
	number := func(s string) json.Number { return json.Number(s) }
	for _, c := range []struct {
		family *family
		fields map[string]any
		says   string
	}{
		{&qwen2, map[string]any{"use_sliding_window": true, "sliding_window": number("64"), "max_position_embeddings": number("128")}, "use_sliding_window"},
		{&gemma2, map[string]any{"num_hidden_layers": number("2"), "query_pre_attn_scalar": number("100")}, "query_pre_attn_scalar"},
		{&gemma3, map[string]any{"num_hidden_layers": number("2"), "sliding_window_pattern": number("5")}, "sliding_window_pattern"},
		{&smollm3, map[string]any{"no_rope_layers": []any{number("1"), number("0")}}, "no_rope_layers, element 1"},
		{&olmo2, map[string]any{"layer_types": []any{"sliding_attention"}}, "layer_types"},
		{&olmoe, map[string]any{"clip_qkv": number("8")}, "clip_qkv"},
		{&qwen3moe, map[string]any{"norm_topk_prob": false}, "norm_topk_prob"},
		{&qwen2moe, map[string]any{"mlp_only_layers": []any{number("0")}}, "mlp_only_layers"},
		{&gptoss, map[string]any{"layer_types": []any{"full_attention"}}, "layer 0"},
		{&longcat, map[string]any{"num_layers": number("2"), "zero_expert_type": "drop"}, "drop"},
		{&granite, map[string]any{"hidden_act": "relu"}, "relu"},
	} {
		err := c.family.accept(&config{where: "config.json", fields: c.fields})
		if !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: the error does not say %q: %v", c.family.arch, c.says, err)
		}
	}
}
