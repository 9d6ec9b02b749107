package lora_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"qtool/fixtures"
	"qtool/gguf"
	"qtool/lora"
)

// pairsOn makes an adapter of small values on targets.
func pairsOn(targets []lora.Target, rank int) *lora.Adapter {
	a := &lora.Adapter{Architecture: "llama", Alpha: 8, Extra: &gguf.Metadata{}}
	for _, t := range targets {
		p := lora.Pair{Tensor: t.Tensor, A: lora.Half{Shape: []int{t.In, rank}}, B: lora.Half{Shape: []int{rank, t.Out}}}
		if t.Experts > 1 {
			p.A.Shape, p.B.Shape = append(p.A.Shape, t.Experts), append(p.B.Shape, t.Experts)
		}
		p.A.Values, p.B.Values = make([]float32, t.In*rank*t.Experts), make([]float32, t.Out*rank*t.Experts)
		for _, values := range [][]float32{p.A.Values, p.B.Values} {
			for i := range values {
				values[i] = float32(i%7-3) / 10
			}
		}
		a.Pairs = append(a.Pairs, p)
	}
	return a
}

func TestAnAdapterMadeOfValuesReadsBackAndChangesItsBase(t *testing.T) {
	for _, shape := range []fixtures.Shape{{}, {Experts: 4}} {
		base := fixtures.TinyLlama(1, shape)
		targets, err := lora.Select(base, nil, false)
		if err != nil {
			t.Fatal(err)
		}
		a := pairsOn(targets, 3)
		lora.Base{Architecture: "llama", Name: "tiny", FileType: 7, SHA256: "00"}.Record(a.Extra)
		path := filepath.Join(t.TempDir(), "a.gguf")
		if err := a.WriteFile(context.Background(), path); err != nil {
			t.Fatal(err)
		}
		b, err := lora.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(a, b, cmpopts.IgnoreUnexported(gguf.Metadata{})); diff != "" {
			t.Errorf("%+v (-written +read):\n%s", shape, diff)
		}
		if diff := cmp.Diff(a.Extra.All(), b.Extra.All()); diff != "" {
			t.Errorf("metadata (-written +read):\n%s", diff)
		}
		if b.Pairs[0].Rank() != 3 {
			t.Errorf("rank %d", b.Pairs[0].Rank())
		}
		if v := verdictOf(t, b, base); v.Err() != nil || !(v.Probe.LargestChange > 0) {
			t.Errorf("changes logits by %+v: %v", v.Probe, v.Err())
		}
		clear(b.Pairs[0].B.Values)
		b.Pairs = b.Pairs[:1]
		if v := verdictOf(t, b, base); !errors.Is(v.Err(), lora.ErrNoEffect) {
			t.Errorf("an adapter of zeros: %v", v.Err())
		}
	}
}

func TestWhatIsNoPairIsNotWritten(t *testing.T) {
	targets, err := lora.Targets(fixtures.TinyLlama(1, fixtures.Shape{}))
	if err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(p *lora.Pair){
		"a value too few":   func(p *lora.Pair) { p.A.Values = p.A.Values[1:] },
		"no shape":          func(p *lora.Pair) { p.B.Shape = nil },
		"a rank of nothing": func(p *lora.Pair) { p.A.Shape, p.A.Values = []int{p.A.Shape[0], 0}, nil },
		"two ranks":         func(p *lora.Pair) { p.A.Shape = []int{3, len(p.A.Values) / 3} },
		"a norm":            func(p *lora.Pair) { p.Tensor = "blk.0.attn_norm.weight" },
	} {
		a := pairsOn(targets[1:2], 2)
		spoil(&a.Pairs[0])
		if _, err := a.Model(); !errors.Is(err, lora.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
