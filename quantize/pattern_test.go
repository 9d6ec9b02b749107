package quantize_test

import (
	"errors"
	"strings"
	"testing"

	"qtool/gguf"
	"qtool/quantize"
)

// patterns parses PATTERN=TYPE arguments.
func patterns(t *testing.T, all ...string) (list []quantize.TypePattern) {
	t.Helper()
	for _, s := range all {
		p, err := quantize.ParseTypePattern(s)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
	return list
}

func TestPatternsDecideTypes(t *testing.T) {
	const embd, query, down, router = "token_embd.weight", "blk.2.attn_q.weight", "blk.10.ffn_down.weight", "blk.2.ffn_gate_inp.weight"
	for _, c := range []struct {
		name     string
		patterns []string
		opts     quantize.Options
		want     map[string]gguf.Type
	}{
		{"a part of the name is enough", []string{"attn_q=q8_0"}, quantize.Options{FileType: "Q4_0"},
			map[string]gguf.Type{query: gguf.Q8_0, embd: gguf.Q6_K}},
		{"in any case", []string{"ATTN_Q\\.W=Q5_1"}, quantize.Options{FileType: "Q4_0"}, map[string]gguf.Type{query: gguf.Q5_1}},
		{"classes keep their case", []string{"\\D{6}_embd=Q5_1"}, quantize.Options{FileType: "Q4_0"}, map[string]gguf.Type{embd: gguf.Q6_K}},
		{"the first decides", []string{"attn=Q5_0", "attn_q=Q8_0"}, quantize.Options{FileType: "Q4_0"}, map[string]gguf.Type{query: gguf.Q5_0}},
		{"lookahead", []string{"^(?!token).*weight=Q5_0"}, quantize.Options{FileType: "Q4_0"}, map[string]gguf.Type{query: gguf.Q5_0, embd: gguf.Q6_K}},
		{"an equals sign in the pattern", []string{"^(?=blk)=Q5_0"}, quantize.Options{FileType: "Q4_0"}, map[string]gguf.Type{query: gguf.Q5_0, embd: gguf.Q6_K}},
		{"the type of the file is honoured", []string{"token=Q4_0"}, quantize.Options{FileType: "Q4_0"}, map[string]gguf.Type{embd: gguf.Q4_0}},
		{"beside pure", []string{"token=Q8_0"}, quantize.Options{FileType: "Q4_0", Pure: true}, map[string]gguf.Type{embd: gguf.Q8_0, query: gguf.Q4_0}},
		{"in a file of floats", []string{"attn=Q8_0"}, quantize.Options{FileType: "F16"}, map[string]gguf.Type{query: gguf.Q8_0, embd: gguf.F16}},
		{"in a copy", []string{"attn=Q8_0"}, quantize.Options{FileType: "COPY"}, map[string]gguf.Type{query: gguf.Q8_0, embd: gguf.F32}},
		{"before the output type of a tied head", []string{"token=Q5_0"}, quantize.Options{FileType: "Q4_0", OutputType: "Q8_0"}, map[string]gguf.Type{embd: gguf.Q5_0}},
		{"after the embedding type", []string{"token=Q5_0"}, quantize.Options{FileType: "Q4_0", EmbeddingType: "Q8_0"}, map[string]gguf.Type{embd: gguf.Q8_0}},
		{"rows that do not divide", []string{"down=Q4_K"}, quantize.Options{FileType: "Q8_0"}, map[string]gguf.Type{down: gguf.F16}},
		{"never quantized", []string{"blk=Q8_0"}, quantize.Options{FileType: "Q4_0"}, map[string]gguf.Type{router: gguf.F32, query: gguf.Q8_0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.opts.TensorTypes = patterns(t, c.patterns...)
			got := typesOf(planOf(t, smallModel(), c.opts))
			for name, want := range c.want {
				if got[name] != want {
					t.Errorf("%s becomes %v, want %v", name, got[name], want)
				}
			}
		})
	}
}

func TestPatternsWithoutEffectAreNamed(t *testing.T) {
	for _, c := range []struct{ pattern, remark string }{
		{"attn_q=Q8_0", ""},
		{"atn_q=Q8_0", "no tensor's name"},
		{"ffn_gate_inp=Q8_0", "blk.2.ffn_gate_inp.weight, is never quantized"},
		{"token=Q8_0", "token_embd.weight, is decided by an option before it"},
	} {
		p := planOf(t, smallModel(), quantize.Options{FileType: "Q4_0", EmbeddingType: "Q5_0", TensorTypes: patterns(t, c.pattern)})
		switch got := strings.Join(p.Remarks, "\n"); {
		case c.remark == "" && got != "":
			t.Errorf("%s: %s", c.pattern, got)
		case !strings.Contains(got, c.remark) || c.remark != "" && !strings.Contains(got, c.pattern):
			t.Errorf("%s: got %q, want it to say %q", c.pattern, got, c.remark)
		}
	}
}

func TestPatternsThatMakeNoSenseAreRefused(t *testing.T) {
	for s, kind := range map[string]error{
		"attn_q": nil, "=Q8_0": nil, "attn_q=": nil, "attn_(q=Q8_0": nil,
		"attn_q=Q9_9": quantize.ErrUnknownType, "attn_q=Q8_1": quantize.ErrUnsupported,
	} {
		_, err := quantize.ParseTypePattern(s)
		if err == nil || !strings.Contains(err.Error(), s) || kind != nil && !errors.Is(err, kind) {
			t.Errorf("%q: %v", s, err)
		}
	}
	all, err := quantize.ParseTypePatterns(" a=Q8_0\n\tb=f16\r\nc=q4_k ")
	if err != nil || len(all) != 3 || all[2].String() != "c=q4_k" {
		t.Errorf("got %v, %v", all, err)
	}
}

func TestPatternsThatTakeForeverAreAnError(t *testing.T) {
	m := gguf.Assemble(&gguf.Metadata{}, []*gguf.Tensor{tensorOf(strings.Repeat("a", 60)+".weight", gguf.F32, 32, 2)})
	_, err := quantize.NewPlan(m, quantize.Options{FileType: "Q8_0", TensorTypes: patterns(t, "^(?=a)(a|aa)+$=Q5_0")})
	if err == nil || !strings.Contains(err.Error(), "(a|aa)+") {
		t.Errorf("got %v", err)
	}
}
