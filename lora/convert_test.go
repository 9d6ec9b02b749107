package lora

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"qtool/fixtures"
	"qtool/gguf"
	"qtool/internal/convert"
)

// folderModel is a tiny folder that is written and opened, with its layout.
func folderModel(t *testing.T, architecture string) (dir string, m *convert.Model, l *Layout) {
	t.Helper()
	dir = t.TempDir()
	if err := fixtures.TinyFolder(1, architecture, fixtures.FolderOptions{}).Write(context.Background(), dir, 0); err != nil {
		t.Fatal(err)
	}
	m, err := convert.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	if l, err = LayoutOfFolder(dir); err != nil {
		t.Fatal(err)
	}
	return dir, m, l
}

// onTensors is an adapter of rank 2 with a pair on each of some tensors of m, all values known.
func onTensors(m gguf.Model, names ...string) *Adapter {
	a := &Adapter{Alpha: 4, Extra: &gguf.Metadata{}}
	a.Architecture, _ = m.Metadata().Str("general.architecture")
	for k, name := range names {
		t, _ := m.Tensor(name)
		p := Pair{Tensor: name, A: Half{Shape: []int{t.Shape[0], 2}}, B: Half{Shape: []int{2, t.Shape[1]}}}
		if name == "token_embd.weight" {
			p.A.Shape, p.B.Shape = []int{2, t.Shape[1]}, []int{2, t.Shape[0]}
		}
		if len(t.Shape) > 2 {
			p.A.Shape, p.B.Shape = append(p.A.Shape, t.Shape[2]), append(p.B.Shape, t.Shape[2])
		}
		for _, h := range []*Half{&p.A, &p.B} {
			h.Values = make([]float32, (&gguf.Tensor{Shape: h.Shape}).Elements())
			for i := range h.Values {
				h.Values[i] = float32((i*7+k*5)%11)/8 + 0.125
			}
		}
		a.Pairs = append(a.Pairs, p)
	}
	return a
}

func samePairs(t *testing.T, what string, got, want *Adapter) {
	t.Helper()
	if got.Alpha != want.Alpha || len(got.Pairs) != len(want.Pairs) {
		t.Fatalf("%s: alpha %g and %d pairs, want %g and %d", what, got.Alpha, len(got.Pairs), want.Alpha, len(want.Pairs))
	}
	for _, p := range want.Pairs {
		i := slices.IndexFunc(got.Pairs, func(q Pair) bool { return q.Tensor == p.Tensor })
		if i < 0 || !slices.Equal(got.Pairs[i].A.Values, p.A.Values) || !slices.Equal(got.Pairs[i].B.Values, p.B.Values) {
			t.Errorf("%s: the pair on %s differs or is not there", what, p.Tensor)
		}
	}
}

func TestAnAdapterIsTheSameInEveryForm(t *testing.T) {
	_, m, l := folderModel(t, "LlamaForCausalLM")
	want := onTensors(m, "blk.0.attn_q.weight", "blk.1.attn_k.weight", "blk.1.ffn_down.weight", "output.weight")
	want.Extra.Set("qtool.base.name", "the base")
	values := 0
	for _, p := range want.Pairs {
		values += len(p.A.Values) + len(p.B.Values)
	}
	for _, form := range []Form{GGUF, PEFT, MLX} {
		path := filepath.Join(t.TempDir(), "made", "a.gguf")
		if form == GGUF {
			path = filepath.Join(t.TempDir(), "a.gguf")
		}
		c, err := want.Save(context.Background(), path, l, FileOptions{Form: form})
		if err != nil || c.Pairs != 4 || len(c.Folded)+len(c.Joined)+len(c.Padded)+len(c.Idle)+c.Rounded > 0 {
			t.Fatalf("%v: %+v, %v", form, c, err)
		}
		for _, file := range form.Files(path) {
			if _, err := os.Stat(file); err != nil {
				t.Error(err)
			}
		}
		if found, err := FormOf(path); found != form || err != nil {
			t.Errorf("%s is said to be %v, %v", path, found, err)
		}
		if n, err := Values(path); err != nil || n != int64(values) {
			t.Errorf("%v has %d values, %v", form, n, err)
		}
		got, err := OpenFor(path, m)
		if err != nil {
			t.Fatal(err)
		}
		samePairs(t, form.String(), got, want)
		if base, ok := Recorded(got.Extra); !ok || base.Name != "the base" {
			t.Errorf("%v: it records the base %+v", form, base)
		}
	}
}

func TestPairsThatLlamaIgnoresAreForMerging(t *testing.T) {
	_, m, l := folderModel(t, "DeepseekV3ForCausalLM")
	a := onTensors(m, "blk.0.attn_output.weight", "blk.0.attn_kv_a_mqa.weight")
	dir := filepath.Join(t.TempDir(), "peft")
	if _, err := a.Save(context.Background(), dir, l, FileOptions{Form: PEFT}); err != nil {
		t.Fatal(err)
	}
	got, _, err := OpenFolder(dir, l)
	if err != nil || !got.MergeOnly {
		t.Fatal(got, err)
	}
	if ignored := got.Ignored(); len(ignored) != 1 || ignored[0].Tensor != "blk.0.attn_kv_a_mqa.weight" || ignored[0].Refused == "" {
		t.Errorf("%+v", ignored)
	}
	if _, err := Add(m, got); err != nil {
		t.Errorf("it cannot be merged: %v", err)
	}
}

func TestWhyAFolderIsNoAdapterForAModelHasItsKind(t *testing.T) {
	_, m, l := folderModel(t, "LlamaForCausalLM")
	_, _, other := folderModel(t, "Qwen3ForCausalLM")
	_, tied, tiedLayout := folderModel(t, "Gemma2ForCausalLM")
	dir, embedding := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")
	a := onTensors(m, "blk.0.attn_q.weight")
	if _, err := a.Save(context.Background(), dir, l, FileOptions{Form: PEFT}); err != nil {
		t.Fatal(err)
	}
	if _, err := onTensors(tied, "token_embd.weight").Save(context.Background(), embedding, tiedLayout, FileOptions{Form: PEFT}); err != nil {
		t.Fatal(err)
	}
	bare := t.TempDir()
	for name, c := range map[string]struct {
		dir  string
		l    *Layout
		kind error
		says string
	}{
		"another architecture": {dir, other, ErrMismatch, `"llama"`},
		"no layout":            {dir, nil, ErrNeedsBase, "number of heads"},
		"a tied embedding":     {embedding, tiedLayout, ErrUnsupported, "head as well"},
		"no folder of one":     {bare, l, ErrInvalid, "adapter_config.json"},
	} {
		if _, _, err := OpenFolder(c.dir, c.l); !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: not of its kind, or it does not say %q: %v", name, c.says, err)
		}
	}
	out := filepath.Join(t.TempDir(), "out")
	if _, err := a.Save(context.Background(), out, other, FileOptions{Form: MLX}); !errors.Is(err, ErrMismatch) {
		t.Error(err)
	}
	if _, err := a.Save(context.Background(), out, nil, FileOptions{Form: MLX}); !errors.Is(err, ErrNeedsBase) {
		t.Error(err)
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("a folder was left")
	}
}
